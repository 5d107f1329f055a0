#include "gradwise/curvature/target_draws.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/DimVector.h>
#include <ATen/ops/rand.h>

namespace gradwise {

TargetDraws::TargetDraws(std::int64_t draws, std::int64_t seed)
    : draws_(draws), generator_(at::detail::createCPUGenerator(static_cast<std::uint64_t>(seed))) {}

const at::Tensor& TargetDraws::of_batch(std::int64_t index, at::IntArrayRef shape) {
  if (index == std::ssize(batches_)) {
    at::DimVector all(shape);
    all.insert(all.begin() + 1, draws_);
    batches_.push_back(at::rand(all, generator_, at::kDouble));
  }
  return batches_.at(static_cast<std::size_t>(index));
}

}  // namespace gradwise
