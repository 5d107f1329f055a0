#include "gradwise/optim/composed_update.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_maximum.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_neg.h>
#include <ATen/ops/_foreach_sign.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_sparse_coo_tensor_unsafe.h>
#include <ATen/ops/full.h>

#include <cmath>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

using Tensors = std::vector<at::Tensor>;

void fused_adam(const FusedOptions& o, std::int64_t step, const ComposedStep& t) {
  const Tensors steps(t.parameters.size(),
                      at::full({}, static_cast<double>(step), t.parameters.front().options().dtype(at::kFloat)));
  const auto update = o.decoupled ? &at::_ops::_fused_adamw_::call : &at::_ops::_fused_adam_::call;
  update(t.parameters, t.gradients, t.first, t.second, t.third, steps, o.lr, o.beta1, o.beta2, o.weight_decay, o.eps,
         o.amsgrad, o.maximize, /*grad_scale=*/{}, /*found_inf=*/{});
}

void adam(const FusedOptions& o, std::int64_t step, const ComposedStep& t, const Tensors& g) {
  at::_foreach_lerp_(t.first, g, 1 - o.beta1);
  at::_foreach_mul_(t.second, o.beta2);
  at::_foreach_addcmul_(t.second, g, g, 1 - o.beta2);
  if (o.amsgrad) {
    at::_foreach_maximum_(t.third, t.second);
  }
  const auto n = static_cast<double>(step);
  const double step_size = o.lr / (1 - std::pow(o.beta1, n));
  const Tensors root = at::_foreach_sqrt(o.amsgrad ? t.third : t.second);
  at::_foreach_div_(root, std::sqrt(1 - std::pow(o.beta2, n)));
  at::_foreach_add_(root, o.eps);
  at::_foreach_addcdiv_(t.parameters, t.first, root, -step_size);
}

void sgd(const FusedOptions& o, std::int64_t step, const ComposedStep& t, const Tensors& g) {
  if (o.momentum == 0) {
    at::_foreach_add_(t.parameters, g, -o.lr);
    return;
  }
  if (step == 1) {
    at::_foreach_copy_(t.first, g);
  } else {
    at::_foreach_mul_(t.first, o.momentum);
    at::_foreach_add_(t.first, g, 1 - o.dampening);
  }
  at::_foreach_add_(t.parameters, o.nesterov ? at::_foreach_add(g, t.first, o.momentum) : t.first, -o.lr);
}

void rmsprop(const FusedOptions& o, const ComposedStep& t, const Tensors& g) {
  at::_foreach_mul_(t.second, o.alpha);
  at::_foreach_addcmul_(t.second, g, g, 1 - o.alpha);
  Tensors root;
  if (o.centered) {
    at::_foreach_lerp_(t.third, g, 1 - o.alpha);
    root = at::_foreach_addcmul(t.second, t.third, t.third, -1);
    at::_foreach_sqrt_(root);
  } else {
    root = at::_foreach_sqrt(t.second);
  }
  at::_foreach_add_(root, o.eps);
  if (o.momentum > 0) {
    at::_foreach_mul_(t.first, o.momentum);
    at::_foreach_addcdiv_(t.first, g, root);
    at::_foreach_add_(t.parameters, t.first, -o.lr);
  } else {
    at::_foreach_addcdiv_(t.parameters, g, root, -o.lr);
  }
}

double adagrad_rate(const FusedOptions& o, std::int64_t step) {
  return o.lr / (1 + static_cast<double>(step - 1) * o.lr_decay);
}

void adagrad(const FusedOptions& o, std::int64_t step, const ComposedStep& t, const Tensors& g) {
  at::_foreach_addcmul_(t.second, g, g, 1);
  const Tensors root = at::_foreach_sqrt(t.second);
  at::_foreach_add_(root, o.eps);
  at::_foreach_addcdiv_(t.parameters, g, root, -adagrad_rate(o, step));
}

void lion(const FusedOptions& o, const ComposedStep& t, const Tensors& g) {
  const Tensors looking = at::_foreach_lerp(t.first, g, 1 - o.beta1);
  at::_foreach_add_(t.parameters, at::_foreach_sign(looking), -o.lr);
  at::_foreach_lerp_(t.first, g, 1 - o.beta2);
}

}  // namespace

void composed_update(const FusedOptions& o, std::int64_t step, const ComposedStep& t) {
  if (o.rule == UpdateRule::adam && !o.parity && t.parameters.front().is_cuda()) {
    fused_adam(o, step, t);
    return;
  }
  Tensors g = o.maximize ? at::_foreach_neg(t.gradients) : t.gradients;
  if (o.weight_decay != 0 && o.decoupled) {
    at::_foreach_mul_(t.parameters, 1 - o.lr * o.weight_decay);
  } else if (o.weight_decay != 0) {
    g = at::_foreach_add(g, t.parameters, o.weight_decay);
  }
  switch (o.rule) {
    case UpdateRule::adam:
      return adam(o, step, t, g);
    case UpdateRule::sgd:
      return sgd(o, step, t, g);
    case UpdateRule::rmsprop:
      return rmsprop(o, t, g);
    case UpdateRule::adagrad:
      return adagrad(o, step, t, g);
    case UpdateRule::lion:
      return lion(o, t, g);
  }
}

void check_takes_sparse(const FusedOptions& o) {
  GRADWISE_CHECK(o.rule == UpdateRule::sgd || o.rule == UpdateRule::adagrad, "optimizer",
                 "a gradient is sparse, which this optimizer does not take, allowed: sgd, adagrad");
  GRADWISE_CHECK(o.rule == UpdateRule::sgd || o.weight_decay == 0, "optimizer",
                 "adagrad takes sparse gradients without weight decay alone, it is ", o.weight_decay);
}

void sparse_update(const FusedOptions& o, std::int64_t step, const at::Tensor& parameter, const at::Tensor& gradient,
                   const FusedState& state) {
  if (o.rule == UpdateRule::sgd && o.momentum == 0 && o.weight_decay == 0) {
    at::Tensor(parameter).add_(gradient, o.maximize ? o.lr : -o.lr);
    return;
  }
  if (o.rule == UpdateRule::sgd) {
    ComposedStep dense{{parameter}, {gradient.to_dense()}, {}, {}, {}};
    if (state.first.defined()) {
      dense.first = {state.first};
    }
    composed_update(o, step, dense);
    return;
  }
  const at::Tensor g = gradient.coalesce();  // each index once, for the update is not linear
  const auto sparse = [&g](const at::Tensor& values) {
    return at::_sparse_coo_tensor_unsafe(g._indices(), values, g.sizes(), g.options(), /*is_coalesced=*/true);
  };
  at::Tensor(state.second).add_(sparse(g._values().pow(2)));
  const at::Tensor root = state.second.sparse_mask(g)._values().sqrt().add(o.eps);
  const double rate = adagrad_rate(o, step);
  at::Tensor(parameter).add_(sparse(g._values().div(root)), o.maximize ? rate : -rate);
}

}  // namespace gradwise
