// The loss around a trained network, over the plane of the two leading eigenvectors of its Hessian, as a picture.
//
// The curvature that the surface shows along each direction is that direction's eigenvalue, and the largest one is what
// Lanczos' method finds from products alone.
//
//   loss_landscape FOLDER     writes FOLDER/loss_landscape.png
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "examples/cpp/network.h"
#include "examples/cpp/picture.h"
#include "examples/cpp/proof.h"
#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/transforms/closures.h"
#include "gradwise/core/random_state.h"
#include "gradwise/curvature/hessian.h"
#include "gradwise/curvature/lanczos.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/plot/script_text.h"
#include "gradwise/train/losses.h"

using namespace gradwise;

namespace {

// Three clouds of points with their numbers.
Batch clouds() {
  const at::Tensor classes = at::arange(240, at::kLong).remainder(3);
  const at::Tensor centres = at::tensor({2.0, 0.0, -1.0, 1.7, -1.0, -1.7}, at::kDouble).view({3, 2});
  return {centres.index_select(0, classes).add(at::randn({240, 2}, at::kDouble)), classes, {}};
}

void set_parameters(const Model& model, const at::Tensor& flat) {
  const at::NoGradGuard no_grad;
  const Tensors parts = unflattened(flat, model.parameters.tensors);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    model.parameters.tensors[i].copy_(parts[i]);
  }
}

// The Hessian's blocks as one matrix, in the order of the flattened parameters.
at::Tensor full_hessian(const Closure& loss, const NamedParameters& parameters) {
  const Tensors blocks = hessian(loss, parameters, {.chunk_size = 64});
  const std::size_t n = parameters.size();
  Tensors rows;
  for (std::size_t row = 0; row < n; ++row) {
    Tensors parts;
    for (std::size_t column = 0; column < n; ++column) {
      parts.push_back(blocks[row * n + column].reshape({parameters.tensors[row].numel(), -1}));
    }
    rows.push_back(at::cat(parts, 1));
  }
  return at::cat(rows);
}

Panel surface_panel(const std::vector<std::vector<double>>& grid, double first, double second) {
  const std::string commands =
      data_block("surface", grid) + heat_palette() +
      "set xlabel 'along the first eigenvector'\nset ylabel 'along the second'\nset cblabel 'loss'\nset logscale cb\n"
      "set rmargin 16\nset autoscale xfix\nset autoscale yfix\nset label 1 '+' at 0,0 center front tc rgb 'white'\n"
      "plot $surface using 1:2:3 with image notitle";
  return {"eigenvalues " + gnuplot_number(first) + " and " + gnuplot_number(second), commands, 2.4};
}

}  // namespace

int main(int count, char** arguments) {
  seed_everything(0);
  Proof proof("The loss along two eigenvectors of its Hessian");
  const Batch data = clouds();
  const Model model = dense_network({2, 10, 10, 3}, [](const at::Tensor& x) { return x.tanh(); }, at::kDouble);
  const LossFunction cross_entropy = make_loss("cross_entropy");
  AutogradOptimizer optimizer(model, {.lr = 0.02});
  for (int step = 0; step < 300; ++step) {
    optimizer.step(cross_entropy, data.input, data.target);
  }
  const auto loss = [&] { return cross_entropy(model.forward(data), data.target); };
  const at::Tensor centre = flattened(model.parameters.tensors).detach();
  const auto [values, vectors] = at::linalg_eigh(full_hessian(loss, model.parameters));
  const std::int64_t last = values.numel() - 1;
  const auto loss_at = [&](double a, double b) {
    const at::NoGradGuard no_grad;
    set_parameters(model, centre.add(vectors.select(1, last), a).add(vectors.select(1, last - 1), b));
    return loss().item<double>();
  };

  const double first = values[last].item<double>();
  const double second = values[last - 1].item<double>();
  constexpr double kStep = 1e-4;
  const double here = loss_at(0, 0);
  const auto bend = [&](double higher, double lower) { return (higher - 2 * here + lower) / (kStep * kStep); };
  proof.equal("curvature along the first", bend(loss_at(kStep, 0), loss_at(-kStep, 0)), first, 1e-4 * first);
  proof.equal("curvature along the second", bend(loss_at(0, kStep), loss_at(0, -kStep)), second, 1e-4 * first);

  constexpr int kHalf = 30;
  constexpr double kReach = 1.5;
  std::vector<std::vector<double>> grid;
  for (int row = -kHalf; row <= kHalf; ++row) {
    for (int column = -kHalf; column <= kHalf; ++column) {
      const double a = kReach * column / kHalf;
      const double b = kReach * row / kHalf;
      grid.push_back({a, b, loss_at(a, b)});
    }
  }
  set_parameters(model, centre);
  const Hessian matrix(model, cross_entropy, data.input, data.target);
  proof.equal("largest eigenvalue by Lanczos", lanczos(matrix, 1, {.tolerance = 1e-8}).values.front(), first,
              1e-5 * first);
  draw_picture(proof, {surface_panel(grid, first, second)}, "The loss around a trained network",
               folder_of(count, arguments) / "loss_landscape.png");
  return proof.exit_code();
}
