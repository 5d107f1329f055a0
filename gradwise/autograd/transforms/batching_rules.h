#pragma once

#include <functional>

/// Batching rules that LibTorch lacks in C++: it has those of the negative log-likelihood, which is the end of every
/// cross-entropy, in Python alone, and goes over the slices one by one without them.
namespace gradwise::detail {

/// Gives LibTorch the rules of `nll_loss` and `nll_loss2d`, forward and backward, at the first call. Other rules are
/// loaded instead where `load_batching_rules_by` says so.
void load_batching_rules();

/// Rules come from `loader` from now on, which may be called more than once: Python's torch has its own. To be called
/// before the first vmap.
void load_batching_rules_by(std::function<void()> loader);

}  // namespace gradwise::detail
