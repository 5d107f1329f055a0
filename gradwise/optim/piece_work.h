#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gradwise/kernels/moments.h"

namespace gradwise {

/// Several tensors' memory, cut into pieces that threads share evenly: a thousand small tensors cost one parallel
/// region, as one large tensor does. What each piece gives is joined by its tensor's pieces in order, so that no result
/// depends on the number of threads.
class PieceWork {
 public:
  struct Piece {
    std::uint32_t tensor;
    std::int64_t begin;
    std::int64_t count;
  };

  void clear() {
    pieces_.clear();
    ends_.clear();
  }
  /// Allocates nothing once the list has been as long before.
  void add(std::size_t tensor, std::int64_t count) {
    constexpr auto kPiece = static_cast<std::int64_t>(kernels::kPiece);
    for (std::int64_t begin = 0; begin < count; begin += kPiece) {
      pieces_.push_back({static_cast<std::uint32_t>(tensor), begin, std::min(kPiece, count - begin)});
      ends_.push_back(pieces_.back().count + (ends_.empty() ? 0 : ends_.back()));
    }
  }
  [[nodiscard]] const std::vector<Piece>& pieces() const { return pieces_; }
  /// The piece after piece `i` where another tensor begins there, null otherwise: what the hardware does not see
  /// coming.
  [[nodiscard]] const Piece* start_after(std::size_t i) const {
    return i + 1 < pieces_.size() && pieces_[i + 1].tensor != pieces_[i].tensor ? &pieces_[i + 1] : nullptr;
  }

  /// Calls `work(index of a piece)` once for each, on ATen's threads.
  template <class Work>
  void run(const Work& work) const {
    constexpr std::int64_t kWorthAThread = 32 * 1024;
    const std::int64_t elements = ends_.empty() ? 0 : ends_.back();
    const std::int64_t shares = std::clamp<std::int64_t>(elements / kWorthAThread, 1, at::get_num_threads());
    const auto first_of = [&](std::int64_t share) {
      return std::upper_bound(ends_.begin(), ends_.end(), elements * share / shares) - ends_.begin();
    };
    const auto take = [&](std::int64_t begin, std::int64_t end) {
      const auto last = end == shares ? static_cast<std::ptrdiff_t>(pieces_.size()) : first_of(end);
      for (auto i = begin == 0 ? 0 : first_of(begin); i < last; ++i) {
        work(static_cast<std::size_t>(i));
      }
    };
    if (shares == 1) {
      take(0, 1);
    } else {
      at::parallel_for(0, shares, 1, take);
    }
  }

 private:
  std::vector<Piece> pieces_;
  std::vector<std::int64_t> ends_;  // elements up to and with each piece
};

}  // namespace gradwise
