#include "gradwise/train/checkpoint_writer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <chrono>
#include <utility>

namespace gradwise {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

CheckpointWriter::CheckpointWriter(std::filesystem::path folder, std::int64_t keep_last)
    : folder_(std::move(folder)), keep_last_(keep_last), thread_([this] { run(); }) {}

CheckpointWriter::~CheckpointWriter() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !job_; });
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void CheckpointWriter::rethrow_failure(std::unique_lock<std::mutex>& /*held*/) {
  if (failure_) {
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

// Copies the live tensors into the buffers of their names and hands the buffers on in their place.
void CheckpointWriter::stage(State& live, std::map<std::string, at::Tensor>& buffers) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : live.tensors) {
    at::Tensor& buffer = buffers[name];
    if (!buffer.defined() || buffer.sizes() != tensor.sizes() || buffer.scalar_type() != tensor.scalar_type()) {
      buffer = at::empty(tensor.sizes(), at::TensorOptions().dtype(tensor.scalar_type()));
    }
    buffer.copy_(tensor.detach());
    tensor = buffer;
  }
}

void CheckpointWriter::save(std::int64_t step, Checkpoint live, bool best) {
  const Clock::time_point start = Clock::now();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !job_; });
    rethrow_failure(lock);
  }
  stage(live.model, model_buffers_);
  stage(live.training, training_buffers_);
  staged_ = std::move(live);
  {
    const std::scoped_lock lock(mutex_);
    job_ = Job{step, best, seconds_since(start)};
  }
  changed_.notify_all();
}

void CheckpointWriter::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !job_; });
  rethrow_failure(lock);
}

std::vector<CheckpointSaved> CheckpointWriter::take_finished() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(finished_, {});
}

void CheckpointWriter::write(const Job& job) {
  const Clock::time_point start = Clock::now();
  const std::int64_t bytes = write_checkpoint(folder_, job.step, staged_);
  if (job.best) {
    mark_best(folder_, job.step);
  }
  prune_checkpoints(folder_, keep_last_, job.step);
  CheckpointSaved saved;
  saved.path = (folder_.filename() / ("checkpoint-" + std::to_string(job.step))).string();
  saved.bytes = bytes;
  saved.blocked_seconds = job.blocked_seconds;
  saved.seconds = job.blocked_seconds + seconds_since(start);
  saved.step = job.step;
  const std::scoped_lock lock(mutex_);
  finished_.push_back(std::move(saved));
}

void CheckpointWriter::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return job_ || ending_; });
    if (!job_) {
      return;
    }
    const Job job = *job_;
    lock.unlock();
    std::exception_ptr failure;
    try {
      write(job);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    failure_ = failure;
    job_.reset();
    changed_.notify_all();
  }
}

}  // namespace gradwise
