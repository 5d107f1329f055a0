#include "gradwise/autograd/functions/linear_backward.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "gradwise/autograd/functions/differentiable_gradients.h"
#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/transforms/fallback.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

struct Precision {
  double agreement;
  double epsilon;
};

Precision lowest_precision(const Tensors& arrived, const Tensors& given) {
  Precision lowest{1e-6, std::numeric_limits<double>::epsilon()};
  for (const Tensors* tensors : {&arrived, &given}) {
    for (const at::Tensor& tensor : *tensors) {
      const at::ScalarType type = tensor.scalar_type();
      if (type == at::kFloat && lowest.agreement < 1e-2) {
        lowest = {1e-2, std::numeric_limits<float>::epsilon()};
      } else if (type != at::kFloat && type != at::kDouble) {
        lowest = {0.1, 0x1p-7};  // that of bfloat16, the coarsest
      }
    }
  }
  return lowest;
}

double inner_product(const Tensors& a, const Tensors& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += a[i].to(at::kDouble).mul(b[i].to(at::kDouble)).sum().item<double>();
  }
  return sum;
}

double norm_over(const Tensors& tensors) { return std::sqrt(inner_product(tensors, tensors)); }

double largest_magnitude(const Tensors& tensors) {
  double largest = 0;
  for (const at::Tensor& tensor : tensors) {
    largest = tensor.numel() > 0 ? std::max(largest, tensor.abs().max().item<double>()) : largest;
  }
  return largest;
}

Tensors those_with_graph(const Tensors& tensors) {
  Tensors found;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.defined() && tensor.requires_grad()) {
      found.push_back(tensor);
    }
  }
  return found;
}

bool is_plain(const at::Tensor& tensor) { return tensor.layout() == at::kStrided && !tensor.is_complex(); }

// Bᵀ v by a second backward pass; nothing where LibTorch has none.
Tensors transposed_product(const Tensors& arrived, const Tensors& given, const Tensors& vectors) {
  return detail::first_or_else(
      [&] {
        return filled_with_zeros(torch::autograd::grad(given, arrived, vectors, /*retain_graph=*/true,
                                                       /*create_graph=*/false, /*allow_unused=*/true),
                                 arrived);
      },
      [] { return Tensors(); });
}

// Whether ⟨g, Bᵀ v⟩ = ⟨h, v⟩ holds, with g what arrived and h what was given.
bool is_linear(const Tensors& arrived, const Tensors& given) {
  if (arrived.empty() || given.empty() || !std::ranges::all_of(arrived, is_plain) ||
      !std::ranges::all_of(given, is_plain)) {
    return true;
  }
  const at::NoGradGuard no_grad;
  const double scale = largest_magnitude(given);
  if (scale == 0 || !std::isfinite(scale)) {
    return true;
  }
  Tensors vectors;
  for (const at::Tensor& gradient : given) {
    vectors.push_back(gradient.detach().div(scale));
  }
  const Tensors products = transposed_product(arrived, given, vectors);
  if (products.empty()) {
    return true;
  }
  const auto [agreement, epsilon] = lowest_precision(arrived, given);
  const double of_arrived = norm_over(arrived);
  const double of_vectors = norm_over(vectors);
  const double allowed = agreement * (of_arrived * norm_over(products) + norm_over(given) * of_vectors) +
                         16 * epsilon * of_arrived * of_vectors;
  const double difference = std::abs(inner_product(arrived, products) - inner_product(given, vectors));
  return !std::isfinite(difference) || !std::isfinite(allowed) || difference <= allowed;
}

}  // namespace

at::Tensor generic_weights(const at::Tensor& like) {
  const at::Tensor multiples =
      at::arange(like.numel(), like.options().dtype(at::kDouble).requires_grad(false)).mul(std::sqrt(3.0));
  return multiples.sub(multiples.floor()).add(0.5).to(like.scalar_type()).reshape(like.sizes());
}

class LinearityCheck::Recorder : public torch::autograd::FunctionPostHook {
 public:
  explicit Recorder(Pass* pass) : pass_(pass) {}

  Tensors operator()(const Tensors& found, const Tensors& arrived) override {
    *pass_ = {arrived, found};
    return found;
  }

 private:
  Pass* pass_;
};

LinearityCheck::LinearityCheck(const Tensors& outputs)
    : nodes_(nodes_of_users_functions(outputs)), passes_(nodes_.size()) {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    hooks_.push_back(nodes_[i]->add_post_hook(std::make_unique<Recorder>(&passes_[i])));
  }
}

LinearityCheck::~LinearityCheck() {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    nodes_[i]->del_post_hook(hooks_[i]);
  }
}

void LinearityCheck::check(const char* place) const {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    GRADWISE_CHECK(is_linear(those_with_graph(passes_[i].arrived), those_with_graph(passes_[i].given)), place,
                   "the product with the Jacobian would be wrong: ", function_name(*nodes_[i]),
                   " gives a gradient that is not linear in the one that arrives, or takes that for a constant ",
                   "(detach); allowed: a backward of differentiable operators, linear in what arrives");
  }
}

}  // namespace gradwise
