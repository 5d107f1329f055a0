#include "gradwise/optim/gradient_pass.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "gradwise/core/tensor_memory.h"

namespace gradwise {

bool GradientPass::reads(const std::vector<at::Tensor>& gradients) {
  return std::all_of(gradients.begin(), gradients.end(), kernels_read);
}

double GradientPass::norm(const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  work_.clear();
  held_.clear();
  for (const at::Tensor& gradient : gradients) {
    held_.push_back(in_one_piece(gradient));
    work_.add(held_.size() - 1, held_.back().numel());
  }
  const std::vector<PieceWork::Piece>& pieces = work_.pieces();
  found_.resize(pieces.size());
  work_.run([&](std::size_t i) {
    const PieceWork::Piece& piece = pieces[i];
    const at::Tensor& values = held_[piece.tensor];
    const auto* bytes = static_cast<const std::byte*>(values.const_data_ptr());
    found_[i] = kernels::read_moments(bytes + piece.begin * static_cast<std::int64_t>(values.element_size()),
                                      static_cast<std::size_t>(piece.count), element_of(values));
  });
  double all = 0;
  bool finite = true;
  for (std::size_t i = 0; i < pieces.size();) {
    double squares = 0;
    for (const std::uint32_t tensor = pieces[i].tensor; i < pieces.size() && pieces[i].tensor == tensor; ++i) {
      squares += found_[i].sum_squares;
      finite = finite && found_[i].finite() == found_[i].count;
    }
    all += squares;
  }
  held_.clear();
  return finite ? std::sqrt(all) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace gradwise
