// Gradients and norms out of terms.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mul.h>
#include <c10/util/accumulate.h>

#include <algorithm>

#include "gradwise/autograd/per_sample/sample_term.h"

namespace gradwise {
namespace {

using Sizes = std::vector<std::int64_t>;

enum Purpose : std::size_t { kWindows, kBlock };

// What a convolution sees, (count, groups, columns, positions), of the inputs (count, rows, channels, ...).
at::Tensor seen_windows(const at::Tensor& inputs, const FactoredTerm::Windows& how, ReusedMemory& memory) {
  const std::int64_t count = inputs.size(0);
  const std::int64_t rows = inputs.size(1);
  const std::size_t dimensions = how.kernel.size();
  at::Tensor padded = inputs;
  if (std::ranges::any_of(how.padding, [](std::int64_t width) { return width > 0; })) {
    Sizes both_sides;
    for (std::size_t i = dimensions; i-- > 0;) {
      both_sides.insert(both_sides.end(), 2, how.padding[i]);
    }
    padded = at::constant_pad_nd(inputs, both_sides, 0);
  }
  const std::int64_t channels = inputs.size(2) / how.groups;
  // (count, groups, channels, kernel..., rows, output...)
  Sizes sizes = {count, how.groups, channels};
  Sizes strides = {padded.stride(0), padded.stride(2) * channels, padded.stride(2)};
  for (std::size_t i = 0; i < dimensions; ++i) {
    sizes.push_back(how.kernel[i]);
    strides.push_back(padded.stride(static_cast<std::int64_t>(i) + 3) * how.dilation[i]);
  }
  sizes.push_back(rows);
  strides.push_back(padded.stride(1));
  for (std::size_t i = 0; i < dimensions; ++i) {
    sizes.push_back(how.output[i]);
    strides.push_back(padded.stride(static_cast<std::int64_t>(i) + 3) * how.stride[i]);
  }
  const at::Tensor seen = memory.take(kWindows, sizes, padded.options());
  seen.copy_(padded.as_strided(sizes, strides, padded.storage_offset()));
  return seen.view(
      {count, how.groups, channels * c10::multiply_integers(how.kernel), rows * c10::multiply_integers(how.output)});
}

// How many samples of a term are worked on at once.
std::int64_t block_of(const FactoredTerm& term, std::int64_t elements_beside) {
  const std::int64_t seen = term.windows ? term.left.size(1) * term.columns() * term.left.size(3) : 0;
  return samples_in_block(std::max(seen, elements_beside));
}

// left * right^T, to (or added to) a place (count, groups, rows, columns).
void multiply_to(const at::Tensor& left, const at::Tensor& right, const at::Tensor& place, bool add) {
  const at::Tensor a = left.to(place.scalar_type());
  const at::Tensor b = right.to(place.scalar_type());
  if (a.size(3) == 1) {  // each element is one product, written once
    if (add) {
      place.addcmul_(a, b.transpose(2, 3));
    } else {
      at::Tensor to = place;
      at::mul_out(to, a, b.transpose(2, 3));
    }
    return;
  }
  const bool turned = place.stride(3) != 1 && place.transpose(2, 3).is_contiguous();
  const at::Tensor first = (turned ? b : a).flatten(0, 1);
  const at::Tensor second = (turned ? a : b).flatten(0, 1).transpose(1, 2);
  at::Tensor flat = turned ? place.transpose(2, 3) : place;
  if (!flat.is_contiguous()) {
    const at::Tensor product = at::bmm(first, second).view(place.sizes());
    add ? place.add_(product) : place.copy_(product);
    return;
  }
  flat = flat.view({-1, flat.size(2), flat.size(3)});
  if (add) {
    flat.baddbmm_(first, second);
  } else {
    at::bmm_out(flat, first, second);
  }
}

void write_factored(const FactoredTerm& term, std::int64_t first, const at::Tensor& place, bool add,
                    ReusedMemory& memory) {
  const Sizes blocks = {place.size(0), term.left.size(1), term.left.size(2), term.columns()};
  if (term.windows && !place.is_contiguous()) {  // a part of a parameter: its channels are no one dimension
    const at::Tensor whole = memory.take(kBlock, place.sizes(), place.options());
    write_factored(term, first, whole, /*add=*/false, memory);
    add ? place.add_(whole) : place.copy_(whole);
    return;
  }
  const at::Tensor target = term.windows ? place.view(blocks) : place.unsqueeze(1);
  const std::int64_t step = block_of(term, term.windows ? 0 : 1);
  for (std::int64_t done = 0; done < place.size(0); done += step) {
    const std::int64_t count = std::min(step, place.size(0) - done);
    multiply_to(term.left.narrow(0, first + done, count), columns_of(term, first + done, count, memory),
                target.narrow(0, done, count), add);
  }
}

void write_table(const TableTerm& term, std::int64_t first, const at::Tensor& place, bool add) {
  const std::int64_t count = place.size(0);
  const at::Tensor table = place.is_contiguous() && !add ? place : place.new_empty(place.sizes());
  table.zero_();
  const at::Tensor rows =
      term.indices.narrow(0, first, count) + at::arange(count, term.indices.options()).unsqueeze(1) * place.size(1);
  table.view({-1, place.size(2)})
      .index_add_(0, rows.flatten(), term.gradients.narrow(0, first, count).flatten(0, 1).to(place.scalar_type()));
  if (!table.is_same(place)) {
    add ? place.add_(table) : place.copy_(table);
  }
}

// sum_ts (left_t . left_s)(right_t . right_s) for each sample.
at::Tensor gram_norms(const at::Tensor& left, const at::Tensor& right) {
  const at::Tensor a = left.flatten(0, 1);
  const at::Tensor b = right.flatten(0, 1);
  const at::Tensor product = at::bmm(a.transpose(1, 2), a).mul_(at::bmm(b.transpose(1, 2), b));
  return product.view({left.size(0), -1}).sum(1);
}

at::Tensor wide(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16 ? tensor.to(at::kFloat) : tensor;
}

at::Tensor factored_norms(const FactoredTerm& term, ReusedMemory& memory) {
  const std::int64_t positions = term.left.size(3);
  const std::int64_t rows = term.left.size(2);
  const std::int64_t columns = term.columns();
  if (term.is_outer_product()) {
    return squared_norms_of(term.left) * squared_norms_of(term.right);
  }
  const bool by_gram = positions * (rows + columns) < rows * columns;
  const std::int64_t groups = term.left.size(1);
  const std::int64_t step = block_of(term, groups * (by_gram ? 2 * positions * positions : rows * columns));
  std::vector<at::Tensor> found;
  for (std::int64_t first = 0; first < term.left.size(0); first += step) {
    const std::int64_t count = std::min(step, term.left.size(0) - first);
    const at::Tensor left = wide(term.left.narrow(0, first, count));
    const at::Tensor right = wide(columns_of(term, first, count, memory));
    if (by_gram) {
      found.push_back(gram_norms(left, right));
      continue;
    }
    const at::Tensor block = memory.take(kBlock, {count, groups, rows, columns}, left.options());
    multiply_to(left, right, block, /*add=*/false);
    found.push_back(squared_norms_of(block));
  }
  return at::cat(found);
}

// Rows of the same index meet: sum_ts [index_t = index_s] (gradient_t . gradient_s).
at::Tensor table_norms(const TableTerm& term) {
  const std::int64_t positions = term.indices.size(1);
  const std::int64_t step = samples_in_block(2 * positions * positions);
  std::vector<at::Tensor> found;
  for (std::int64_t first = 0; first < term.indices.size(0); first += step) {
    const std::int64_t count = std::min(step, term.indices.size(0) - first);
    const at::Tensor indices = term.indices.narrow(0, first, count);
    const at::Tensor rows = wide(term.gradients.narrow(0, first, count));
    const at::Tensor meets = indices.unsqueeze(2).eq(indices.unsqueeze(1));
    found.push_back(at::bmm(rows, rows.transpose(1, 2)).mul_(meets).flatten(1).sum(1));
  }
  return at::cat(found);
}

}  // namespace

at::Tensor columns_of(const FactoredTerm& term, std::int64_t first, std::int64_t count, ReusedMemory& memory) {
  const at::Tensor block = term.right.narrow(0, first, count);
  return term.windows ? seen_windows(block, *term.windows, memory) : block;
}

void write_term(const SampleTerm& term, std::int64_t first, const at::Tensor& place, bool add, ReusedMemory& memory) {
  const WithoutAutocast own_type;
  if (const auto* factored = std::get_if<FactoredTerm>(&term)) {
    write_factored(*factored, first, place, add, memory);
  } else if (const auto* whole = std::get_if<WholeTerm>(&term)) {
    const at::Tensor block = whole->gradients.narrow(0, first, place.size(0));
    add ? place.add_(block) : place.copy_(block);
  } else {
    write_table(std::get<TableTerm>(term), first, place, add);
  }
}

at::Tensor squared_norms_of(const at::Tensor& gradients) {
  const at::Tensor rows = wide(gradients).reshape({gradients.size(0), -1});
  return at::linalg_vector_norm(rows, 2, at::IntArrayRef({1})).square();
}

at::Tensor squared_norms(const SampleTerm& term, ReusedMemory& memory) {
  const WithoutAutocast own_type;
  if (const auto* factored = std::get_if<FactoredTerm>(&term)) {
    return factored_norms(*factored, memory);
  }
  if (const auto* whole = std::get_if<WholeTerm>(&term)) {
    return squared_norms_of(whole->gradients);
  }
  return table_norms(std::get<TableTerm>(term));
}

}  // namespace gradwise
