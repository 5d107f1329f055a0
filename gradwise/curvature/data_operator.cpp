#include "gradwise/curvature/data_operator.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/core/buffer_state.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"
#include "gradwise/curvature/determinism.h"

namespace gradwise {

void check_over_data(const char* place, const NamedParameters& parameters, const std::vector<Batch>& batches) {
  GRADWISE_CHECK(parameters.size() > 0, place, "no parameter of the model asks for a gradient");
  parameters.check_types(place);
  const at::Tensor& first = parameters.tensors.front();
  for (std::size_t i = 1; i < parameters.size(); ++i) {
    const at::Tensor& other = parameters.tensors[i];
    GRADWISE_CHECK(other.scalar_type() == first.scalar_type() && other.device() == first.device(), place,
                   parameters.names[0], " is ", first.scalar_type(), " on ", first.device(), ", ", parameters.names[i],
                   " ", other.scalar_type(), " on ", other.device(), ", allowed: one type and device");
  }
  GRADWISE_CHECK(!batches.empty(), place, "the data set has no mini-batch");
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const at::Tensor& input = batches[i].input;
    GRADWISE_CHECK(input.defined() && input.numel() > 0, place, "mini-batch ", i, " of ", batches.size(), " is empty");
  }
}

DataOperator::DataOperator(const char* place, Model model, std::vector<Batch> batches, CurvatureOptions options,
                           Record record, const LossOverSamples& loss)
    : place_(place),
      model_(std::move(model)),
      batches_(std::move(batches)),
      options_(std::move(options)),
      record_(std::move(record)),
      parameters_(model_.parameters.trainable()) {
  check_fields(place_, options_);
  parameters_ = parameters_.matching(options_.parameters, place_);
  check_over_data(place_, parameters_, batches_);
  size_ = parameters_.numel();
  for (const Batch& batch : batches_) {
    samples_ += batch.size();
  }
  random_ = random_state(batches_.front().input.device());
  record_all(loss);
  // A kept graph looks after the frozen parameters that it needs itself.
  watched_ = kept_batches() < std::ssize(batches_) ? model_.parameters : parameters_;
  for (const at::Tensor& parameter : watched_.tensors) {
    versions_.push_back(parameter._version());
  }
  training_ = model_.is_training && model_.is_training();
}

DataOperator::DataOperator(const char* place, Model model, std::vector<Batch> batches, CurvatureOptions options,
                           Record record)
    : DataOperator(place, std::move(model), std::move(batches), std::move(options), std::move(record),
                   LossOverSamples()) {}

void DataOperator::record_all(const LossOverSamples& loss) {
  const bool keeps_all = batches_.size() == 1 || options_.memory_bound == 0;
  std::int64_t taken = 0;
  at::Tensor gradient;
  for (std::size_t i = 0; i < batches_.size(); ++i) {
    const auto memory = keeps_all ? nullptr : std::make_unique<PeakMemory>();
    BatchCurvature batch = i == 0 && options_.check_deterministic ? record_first_batch(loss) : record_batch(i);
    const std::int64_t bytes = keeps_all ? 0 : std::max<std::int64_t>(0, memory->current());
    if (batch.gradient.defined()) {
      const at::Tensor part = batch.gradient.to(at::kDouble).mul(weight(i));
      gradient = gradient.defined() ? gradient.add_(part) : part;
      batch.gradient.reset();
    }
    if (keeps_all || taken + bytes <= options_.memory_bound) {
      taken += bytes;
    } else {
      batch = {};
    }
    kept_.push_back(std::move(batch));
    report(i + 1);
  }
  if (gradient.defined()) {
    gradient_ = gradient.to(options().dtype());
  }
}

BatchCurvature DataOperator::record_batch(std::size_t index) const {
  const at::Device device = batches_.front().input.device();
  const RandomStateGuard random(device);
  set_random_state(random_, device);
  return pass_over(index).curvature;
}

// As record_batch, and checked.
BatchCurvature DataOperator::record_first_batch(const LossOverSamples& loss) const {
  const at::Device device = batches_.front().input.device();
  const RandomStateGuard random(device);
  set_random_state(random_, device);
  Pass first = pass_over(0);
  check_first_pass(first, loss);
  return std::move(first.curvature);
}

// Once the generators have gone on: a second pass that draws random numbers draws others.
void DataOperator::check_first_pass(const Pass& first, const LossOverSamples& loss) const {
  const Batch& batch = batches_.front();
  const at::AutoGradMode grad_mode(true);
  if (batches_.size() > 1) {
    check_same_curvature(place_, first.curvature, pass_over(0).curvature, *this);
  } else {
    const BufferStateGuard buffers(model_.buffers);
    const at::Tensor output = model_.forward(batch);
    if (loss.function) {
      check_same_loss(place_, first.curvature.loss, loss.function(output, batch.target).detach());
    }
    check_same_output(place_, first.output.detach(), output.detach());
  }
  const BufferStateGuard buffers(model_.buffers);
  check_samples_apart(place_, model_, batch, first.output);
  if (loss.function && (batches_.size() > 1 || loss.always)) {
    check_over_samples(place_, loss.function, model_, batch, first.output, options_.reduction);
  }
}

// From wherever the generators are.
DataOperator::Pass DataOperator::pass_over(std::size_t index) const {
  const BufferStateGuard buffers(model_.buffers);
  const at::AutoGradMode grad_mode(true);
  Pass pass;
  pass.output = model_.forward(batches_[index]);
  pass.curvature = record_({parameters_.tensors, pass.output}, batches_[index], static_cast<std::int64_t>(index));
  return pass;
}

double DataOperator::weight(std::size_t index) const {
  return options_.reduction == "sum" ? 1 : static_cast<double>(batches_[index].size()) / static_cast<double>(samples_);
}

std::int64_t DataOperator::kept_batches() const {
  return std::count_if(kept_.begin(), kept_.end(), [](const BatchCurvature& batch) { return batch.apply != nullptr; });
}

void DataOperator::report(std::size_t done) const {
  if (options_.progress) {
    options_.progress(static_cast<std::int64_t>(done), std::ssize(batches_));
  }
}

void DataOperator::check_columns(const at::Tensor& columns) const {
  GRADWISE_CHECK(columns.dim() == 2 && columns.size(0) == size_, place_, "the columns have the shape ", columns.sizes(),
                 ", allowed: [", size_, ", any]");
  const at::Tensor& like = parameters_.tensors.front();
  GRADWISE_CHECK(columns.scalar_type() == like.scalar_type() && columns.device() == like.device(), place_,
                 "the vector is ", columns.scalar_type(), " on ", columns.device(), ", allowed: ", like.scalar_type(),
                 " on ", like.device());
}

void DataOperator::check_unchanged() const {
  for (std::size_t i = 0; i < versions_.size(); ++i) {
    GRADWISE_CHECK(watched_.tensors[i]._version() == versions_[i], place_, "the parameter ", watched_.names[i],
                   " was written to since the operator was made: make a new one");
  }
  if (model_.is_training && kept_batches() < std::ssize(batches_)) {
    GRADWISE_CHECK(model_.is_training() == training_, place_, "the model was in ", training_ ? "train" : "evaluation",
                   " mode when the operator was made, and is not now: put it back, or make a new one");
  }
}

at::Tensor DataOperator::apply(const at::Tensor& vector) const {
  GRADWISE_CHECK(vector.dim() == 1 && vector.numel() == size_, place_, "the vector has the shape ", vector.sizes(),
                 ", allowed: [", size_, "]");
  return apply_columns(vector.unsqueeze(1)).squeeze(1);
}

at::Tensor DataOperator::apply_columns(const at::Tensor& columns) const {
  check_columns(columns);
  check_unchanged();
  const bool only_one = batches_.size() == 1;
  std::vector<at::Tensor> sums;
  for (std::size_t i = 0; i < batches_.size(); ++i) {
    const std::function<at::Tensor(const at::Tensor&)> times = kept_[i].apply ? kept_[i].apply : record_batch(i).apply;
    for (std::int64_t c = 0; c < columns.size(1); ++c) {
      const at::Tensor product = times(columns.select(1, c).contiguous()).detach();
      if (i == 0) {
        sums.push_back(only_one ? product : product.to(at::kDouble).mul(weight(i)));
      } else {
        sums[static_cast<std::size_t>(c)].add_(product.to(at::kDouble), weight(i));
      }
    }
    report(i + 1);
  }
  if (sums.empty()) {
    return at::zeros({size_, 0}, options());
  }
  const at::Tensor products = (sums.size() == 1 ? sums[0].unsqueeze(1) : as_columns(sums)).to(options().dtype());
  if (!all_finite(products)) {
    GRADWISE_CHECK(all_finite(columns), place_, "the vector has values that are not finite");
    fail(place_, "a product with the matrix is not finite: look at the loss and at the weights");
  }
  return products;
}

std::vector<double> DataOperator::data_layer_trace_draws(std::int64_t count, at::Generator& generator) const {
  check_unchanged();
  std::vector<double> sums(static_cast<std::size_t>(count), 0.0);
  for (std::size_t i = 0; i < batches_.size(); ++i) {
    const BatchCurvature batch = kept_[i].apply ? kept_[i] : record_batch(i);
    const std::vector<double> figures = batch.layer_trace_draws(parameters_, count, generator);
    for (std::size_t k = 0; k < sums.size(); ++k) {
      sums[k] += weight(i) * figures[k];
    }
    report(i + 1);
  }
  return sums;
}

std::vector<Batch> read_batches(BatchSource& data) {
  std::vector<Batch> batches;
  data.start(0, 0);
  for (Batch batch; data.next(batch);) {
    Batch& copied = batches.emplace_back();
    copied.input = batch.input.clone();
    copied.target = batch.target.clone();
    for (const at::Tensor& extra : batch.extra) {
      copied.extra.push_back(extra.clone());
    }
  }
  return batches;
}

}  // namespace gradwise
