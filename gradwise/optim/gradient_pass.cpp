#include "gradwise/optim/gradient_pass.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "gradwise/core/tensor_memory.h"
#include "gradwise/kernels/for_each_element.h"

namespace gradwise {

bool GradientPass::reads(const std::vector<at::Tensor>& gradients) {
  return std::all_of(gradients.begin(), gradients.end(), kernels_read);
}

GradientPass::Part GradientPass::part_of(const at::Tensor& values) {
  return {static_cast<const std::byte*>(values.const_data_ptr()), values.numel(), element_of(values), true};
}

// Where tensors are small, finding their memory takes as long as reading it: threads do it side by side.
void GradientPass::look(const std::vector<at::Tensor>& gradients) {
  constexpr std::int64_t kWorthAThread = 128;
  parts_.resize(gradients.size());
  copies_.clear();
  const auto look_at = [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const bool whole = !gradients[i].is_sparse() && gradients[i].is_non_overlapping_and_dense();
      parts_[i] = whole ? part_of(gradients[i]) : Part();
    }
  };
  at::parallel_for(0, static_cast<std::int64_t>(gradients.size()), kWorthAThread, look_at);
  work_.clear();
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (!parts_[i].found) {
      copies_.push_back(in_one_piece(gradients[i]));
      parts_[i] = part_of(copies_.back());
    }
    work_.add(i, parts_[i].count);
  }
}

double GradientPass::norm(const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  look(gradients);
  const std::vector<PieceWork::Piece>& pieces = work_.pieces();
  found_.resize(pieces.size());
  work_.run([&](std::size_t i) {
    const PieceWork::Piece& piece = pieces[i];
    const Part& part = parts_[piece.tensor];
    kernels::NextRead next;
    if (const PieceWork::Piece* start = work_.start_after(i)) {
      const Part& after = parts_[start->tensor];
      next = {after.data, after.element == part.element ? static_cast<std::size_t>(start->count) : 0};
    }
    const std::size_t begin = static_cast<std::size_t>(piece.begin) * kernels::size_of(part.element);
    found_[i] = kernels::read_moments(part.data + begin, static_cast<std::size_t>(piece.count), part.element, next);
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
  copies_.clear();
  return finite ? std::sqrt(all) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace gradwise
