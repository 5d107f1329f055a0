#include "gradwise/optim/parameter_memory.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// stride·x of a sum, with x from `low` to `high`.
struct StridedTerm {
  std::int64_t stride;
  std::int64_t low;
  std::int64_t high;
};

std::int64_t floor_of(std::int64_t a, std::int64_t positive) { return a / positive - (a % positive < 0 ? 1 : 0); }

// Whether a sum of terms can have a value: the bounded Diophantine problem that numpy.shares_memory solves, by the same
// search. Terms go from the largest stride down, so that of slices of one tensor no level has more than a few
// candidates.
class StridedSum {
 public:
  explicit StridedSum(std::vector<StridedTerm> terms) : terms_(std::move(terms)) {
    std::sort(terms_.begin(), terms_.end(),
              [](const StridedTerm& a, const StridedTerm& b) { return a.stride > b.stride; });
    rest_.resize(terms_.size() + 1, {0, 0, 0});
    for (std::size_t i = terms_.size(); i-- > 0;) {
      const StridedTerm& t = terms_[i];
      rest_[i] = {std::gcd(t.stride, rest_[i + 1].stride), rest_[i + 1].low + t.stride * t.low,
                  rest_[i + 1].high + t.stride * t.high};
    }
  }

  // True as well where the search is given up.
  [[nodiscard]] bool may_be(std::int64_t value) {
    work_ = 0;
    return reaches(0, value);
  }

 private:
  bool reaches(std::size_t i, std::int64_t value) {
    constexpr std::int64_t kMostWork = 100'000;
    if (value < rest_[i].low || value > rest_[i].high || (rest_[i].stride != 0 && value % rest_[i].stride != 0)) {
      return false;
    }
    if (i == terms_.size() || ++work_ > kMostWork) {
      return true;
    }
    const StridedTerm& t = terms_[i];
    const std::int64_t first = std::max(t.low, -floor_of(rest_[i + 1].high - value, t.stride));
    const std::int64_t last = std::min(t.high, floor_of(value - rest_[i + 1].low, t.stride));
    for (std::int64_t x = first; x <= last; ++x) {
      if (reaches(i + 1, value - x * t.stride)) {
        return true;
      }
    }
    return false;
  }

  std::vector<StridedTerm> terms_;
  std::vector<StridedTerm> rest_;  // of the terms from each on: common divisor, least and greatest sum
  std::int64_t work_ = 0;
};

// Joins a term to one of its stride, if there is one.
void add_term(std::vector<StridedTerm>& terms, const StridedTerm& term) {
  if (term.low == term.high || term.stride == 0) {
    return;
  }
  const auto same = std::find_if(terms.begin(), terms.end(), [&](const auto& t) { return t.stride == term.stride; });
  if (same == terms.end()) {
    terms.push_back(term);
  } else {
    same->low += term.low;
    same->high += term.high;
  }
}

// Where a parameter's bytes lie.
struct Extent {
  std::int64_t begin;
  std::int64_t end;
  std::size_t index;
};

Extent extent_of(const at::Tensor& parameter, std::size_t index) {
  std::int64_t last = 0;
  for (std::int64_t d = 0; d < parameter.dim(); ++d) {
    last += (parameter.size(d) - 1) * parameter.stride(d);
  }
  const auto begin = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(parameter.const_data_ptr()));
  return {begin, begin + (last + 1) * static_cast<std::int64_t>(parameter.element_size()), index};
}

// Of a byte of `a` less one of `b`; the bytes of whole elements that are in step with each other need not be told
// apart.
bool may_overlap(const at::Tensor& a, std::int64_t begin_a, const at::Tensor& b, std::int64_t begin_b) {
  const auto size_a = static_cast<std::int64_t>(a.element_size());
  const auto size_b = static_cast<std::int64_t>(b.element_size());
  std::vector<StridedTerm> terms;
  for (std::int64_t d = 0; d < a.dim(); ++d) {
    add_term(terms, {a.stride(d) * size_a, 0, a.size(d) - 1});
  }
  for (std::int64_t d = 0; d < b.dim(); ++d) {
    add_term(terms, {b.stride(d) * size_b, 1 - b.size(d), 0});
  }
  if (size_a != size_b || (begin_b - begin_a) % size_a != 0) {
    add_term(terms, {1, 1 - size_b, size_a - 1});
  }
  return StridedSum(std::move(terms)).may_be(begin_b - begin_a);
}

// Two threads would write to one place, and each update would read what the other has done.
void refuse_overlaps(const std::vector<at::Tensor>& parameters) {
  std::vector<Extent> extents;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].defined() && parameters[i].is_cpu() && parameters[i].numel() > 0) {
      extents.push_back(extent_of(parameters[i], i));
    }
  }
  std::stable_sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const Extent& a = extents[i];
    for (std::size_t k = i + 1; k < extents.size() && extents[k].begin < a.end; ++k) {
      const Extent& b = extents[k];
      GRADWISE_CHECK(!may_overlap(parameters[a.index], a.begin, parameters[b.index], b.begin), "optimizer",
                     "parameters ", std::min(a.index, b.index), " and ", std::max(a.index, b.index),
                     " share memory, allowed: parameters with memory of their own");
    }
  }
}

// Whether two different indices lead to one element: the first dimension that they differ in goes up by 1 or more,
// those after it by anything.
bool may_repeat_elements(const at::Tensor& parameter) {
  for (std::int64_t d = 0; d < parameter.dim(); ++d) {
    if (parameter.size(d) <= 1) {
      continue;
    }
    std::vector<StridedTerm> terms;
    for (std::int64_t later = d + 1; later < parameter.dim(); ++later) {
      add_term(terms, {parameter.stride(later), 1 - parameter.size(later), parameter.size(later) - 1});
    }
    const std::int64_t stride = parameter.stride(d);
    add_term(terms, {stride, 0, parameter.size(d) - 2});
    if (StridedSum(std::move(terms)).may_be(-stride)) {
      return true;
    }
  }
  return false;
}

void refuse_repeated_elements(const at::Tensor& parameter, std::size_t index) {
  for (std::int64_t d = 0; d < parameter.dim(); ++d) {
    GRADWISE_CHECK(parameter.size(d) <= 1 || parameter.stride(d) != 0, "optimizer", "parameter ", index, " of shape ",
                   parameter.sizes(), " repeats its elements along dimension ", d,
                   " (an expanded tensor), allowed: tensors whose elements have memory of their own");
  }
  GRADWISE_CHECK(parameter.numel() == 0 || parameter.is_non_overlapping_and_dense() || !may_repeat_elements(parameter),
                 "optimizer", "parameter ", index, " of shape ", parameter.sizes(), " and strides ",
                 parameter.strides(),
                 " has elements that share memory, allowed: tensors whose elements have memory of their own");
}

}  // namespace

void refuse_shared_memory(const std::vector<at::Tensor>& parameters) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].defined()) {
      refuse_repeated_elements(parameters[i], i);
    }
  }
  refuse_overlaps(parameters);
}

void check_gradient(const at::Tensor& parameter, const at::Tensor& gradient, std::size_t index) {
  GRADWISE_CHECK(gradient.sizes() == parameter.sizes() && gradient.scalar_type() == parameter.scalar_type() &&
                     gradient.device() == parameter.device(),
                 "optimizer", "the gradient of parameter ", index, " is ", gradient.sizes(), " ",
                 gradient.scalar_type(), " on ", gradient.device(), ", the parameter ", parameter.sizes(), " ",
                 parameter.scalar_type(), " on ", parameter.device());
}

}  // namespace gradwise
