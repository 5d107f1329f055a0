#include "gradwise/curvature/kronecker_passes.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <optional>

#include "gradwise/autograd/functions/linear_backward.h"
#include "gradwise/core/buffer_state.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"
#include "gradwise/curvature/data_operator.h"
#include "gradwise/curvature/determinism.h"

namespace gradwise {
namespace {

constexpr const char* kFactors = "kronecker_factors";

KroneckerPart kronecker_part(const LayerPart& part, const NamedParameters& parameters) {
  KroneckerPart made;
  for (std::size_t i = 0; i < part.parameter; ++i) {
    made.first_row += parameters.tensors[i].numel();
  }
  made.shape = parameters.tensors[part.parameter].sizes().vec();
  made.use = part.use;
  made.use.node = nullptr;
  return made;
}

// Which part of which parameter, over all layers.
std::vector<std::int64_t> signature_of(const std::vector<RecordedLayer>& layers, const NamedParameters& parameters) {
  std::vector<std::int64_t> signature;
  for (const RecordedLayer& layer : layers) {
    for (const std::optional<LayerPart>* part : {&layer.weight, &layer.bias}) {
      signature.push_back(*part ? static_cast<std::int64_t>((*part)->parameter) : -1);
      if (*part) {
        const at::Tensor& parameter = parameters.tensors[(*part)->parameter];
        const at::Tensor probe =
            at::empty(parameter.sizes(), parameter.options().device(at::kMeta).requires_grad(false)).unsqueeze(0);
        signature.push_back(place_of((*part)->use, probe).storage_offset());
      }
    }
  }
  return signature;
}

void add_to(at::Tensor& sum, const at::Tensor& part, double weight) {
  const at::Tensor wide = part.to(at::kDouble);
  sum = sum.defined() ? sum.add_(wide, weight) : wide.mul(weight);
}

// Adds weight * Σ x xᵀ over samples and positions, of x (count, groups, length, positions).
void add_outer_products(at::Tensor& sum, const at::Tensor& x, double weight) {
  const at::Tensor all = x.permute({1, 2, 0, 3}).flatten(2);
  add_to(sum, at::bmm(all, all.transpose(1, 2)), weight);
}

// With one position in place of all, ones of a bias included, for the reduce setting.
void add_inputs(at::Tensor& sum, const LayerSamples& samples, double weight, bool reduce, ReusedMemory& memory) {
  const std::int64_t step = samples.block();
  for (std::int64_t first = 0; first < samples.samples(); first += step) {
    const std::int64_t count = std::min(step, samples.samples() - first);
    const at::Tensor inputs = samples.inputs(first, count, memory);
    add_outer_products(sum, reduce ? inputs.mean(3, /*keepdim=*/true) : inputs, weight);
  }
}

// Adds weight * Σ_n (Gᵀ-basis · gradient of n · A-basis)² element by element.
void add_projected_squares(at::Tensor& sum, const KroneckerBlock& block, const LayerSamples& samples, double weight,
                           ReusedMemory& memory) {
  const std::int64_t step = std::min(samples.block(), samples_in_block(block.eigenvalues.numel()));
  for (std::int64_t first = 0; first < samples.samples(); first += step) {
    const std::int64_t count = std::min(step, samples.samples() - first);
    const at::Tensor gradients = samples.gradients(first, count);
    const auto type = gradients.scalar_type();
    const at::Tensor x = block.input_basis.transpose(1, 2).to(type).matmul(samples.inputs(first, count, memory));
    const at::Tensor g = block.gradient_basis.transpose(1, 2).to(type).matmul(gradients);
    if (samples.positions() == 1) {  // the square of an outer product is that of the squares
      add_to(sum, at::bmm(g.square().squeeze(3).permute({1, 2, 0}), x.square().squeeze(3).transpose(0, 1)), weight);
    } else {
      add_to(sum, g.matmul(x.transpose(2, 3)).square().sum(0), weight);
    }
  }
}

}  // namespace

KroneckerPasses::KroneckerPasses(Model model, std::vector<Batch> batches, KroneckerOptions options,
                                 VectorsOfBatch vectors)
    : model_(std::move(model)),
      batches_(std::move(batches)),
      options_(std::move(options)),
      vectors_(std::move(vectors)),
      parameters_(model_.parameters.trainable()) {
  check_fields(kFactors, options_);
  parameters_ = parameters_.matching(options_.parameters, kFactors);
  check_over_data(kFactors, parameters_, batches_);
  for (const Batch& batch : batches_) {
    samples_ += batch.size();
  }
  random_ = random_state(batches_.front().input.device());
  choose_parameters();
}

void KroneckerPasses::choose_parameters() {
  const Batch& batch = batches_.front();
  const RandomStateGuard random(batch.input.device());
  const BufferStateGuard buffers(model_.buffers);
  const at::AutoGradMode grad_mode(true);
  const at::Tensor output = model_.forward(batch);
  if (options_.check_deterministic) {
    check_same_output(kFactors, output.detach(), model_.forward(batch).detach());
    check_samples_apart(kFactors, model_, batch, output);
  }
  GRADWISE_CHECK(output.grad_fn() != nullptr, kFactors,
                 "the output does not depend on any parameter that asks for a gradient");
  const RecordedLayers found = recorded_layers(output, parameters_.tensors, batch.size());
  NamedParameters kept;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (found.reasons[i].empty()) {
      kept.add(parameters_.names[i], parameters_.tensors[i]);
      continue;
    }
    GRADWISE_CHECK(options_.unsupported == "leave_out", kFactors, parameters_.names[i],
                   " is in no linear or convolution layer: ", found.reasons[i],
                   "; name the others in parameters, or set unsupported to leave_out");
    left_out_.push_back(parameters_.names[i]);
  }
  GRADWISE_CHECK(kept.size() > 0, kFactors, "no parameter is in a linear or convolution layer");
  parameters_ = std::move(kept);
}

KroneckerPasses::Visit KroneckerPasses::record(std::size_t index) const {
  const Batch& batch = batches_[index];
  const at::AutoGradMode grad_mode(true);
  Visit made{index, batch.size(), model_.forward(batch), {}, 0};
  GRADWISE_CHECK(made.output.dim() > 0 && made.output.size(0) == made.samples && made.output.grad_fn() != nullptr,
                 kFactors, "the model's output has the shape ", made.output.sizes(), ", allowed: the ", made.samples,
                 " samples of the mini-batch along dimension 0, with a graph");
  RecordedLayers found = recorded_layers(made.output, parameters_.tensors, made.samples);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    GRADWISE_CHECK(found.reasons[i].empty(), kFactors, "in mini-batch ", index, " ", parameters_.names[i],
                   " is in no linear or convolution layer: ", found.reasons[i]);
  }
  made.layers = std::move(found.layers);
  made.graph_hash = found.graph_hash;
  return made;
}

std::vector<KroneckerBlock> KroneckerPasses::new_blocks(const std::vector<RecordedLayer>& layers) const {
  std::vector<KroneckerBlock> made;
  for (const RecordedLayer& layer : layers) {
    KroneckerBlock& block = made.emplace_back();
    block.name = parameters_.names[layer.weight ? layer.weight->parameter : layer.bias->parameter];
    if (layer.weight) {
      block.weight = kronecker_part(*layer.weight, parameters_);
    }
    if (layer.bias) {
      block.bias = kronecker_part(*layer.bias, parameters_);
    }
  }
  return made;
}

std::vector<SampleLayout> KroneckerPasses::layouts(Visit& batch, bool by_sample) {
  if (batch.samples == 1) {
    return std::vector<SampleLayout>(batch.layers.size(), SampleLayout::leading);
  }
  const std::pair kind(batch.samples, batch.graph_hash);
  if (const auto known = known_layouts_.find(kind); known != known_layouts_.end()) {
    return known->second;
  }
  const at::Tensor direction = generic_weights(batch.output).sub(1);
  open_layers(kFactors, batch.layers, batch.output, direction);
  std::vector<OpenUse> uses;
  for (const RecordedLayer& layer : batch.layers) {
    uses.push_back(layer.product);
  }
  bool certain = true;
  std::optional<std::vector<SampleLayout>> found;
  {
    const at::AutoGradMode grad_mode(true);
    const at::Tensor losses = batch.output.mul(direction).reshape({batch.samples, -1}).sum(1);
    found = layouts_of(losses, uses, certain);
  }
  GRADWISE_CHECK(
      found.has_value(), kFactors,
      "the samples of the mini-batch mix, or a layer's rows are none of the samples', or in an order that is ",
      "not known; ",
      by_sample ? "the correction takes the gradient of each sample, weight_sharing reduce the sum over its positions"
                : "where it is the order alone, set check_deterministic to false");
  if (certain) {
    known_layouts_.emplace(kind, *found);
  }
  return *found;
}

void KroneckerPasses::visit(std::size_t index, bool by_sample, const Work& work) {
  const at::Device device = batches_.front().input.device();
  const RandomStateGuard random(device);
  set_random_state(random_, device);
  const BufferStateGuard buffers(model_.buffers);
  Visit batch = record(index);
  const std::vector<std::int64_t> signature = signature_of(batch.layers, parameters_);
  if (blocks_.empty()) {
    blocks_ = new_blocks(batch.layers);
    signature_ = signature;
  }
  GRADWISE_CHECK(signature == signature_, kFactors, "in mini-batch ", index,
                 " the parameters make up other layers than in the first");
  const at::NoGradGuard no_grad;
  const OutputVectors vectors = vectors_(batch.output, batches_[index], static_cast<std::int64_t>(index));
  const WithoutAutocast own_type;
  const double share = static_cast<double>(batch.samples) / static_cast<double>(samples_);
  const double weight = vectors.weight * (options_.reduction == "mean" ? share : 1);
  const at::ScalarType type = parameters_.tensors.front().scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const std::vector<SampleLayout> layout = by_sample || options_.check_deterministic
                                               ? layouts(batch, by_sample)
                                               : std::vector<SampleLayout>(batch.layers.size(), SampleLayout::leading);
  for (std::int64_t c = 0; c < vectors.count; ++c) {
    open_layers(kFactors, batch.layers, batch.output, vectors.vector(c));
    for (std::size_t i = 0; i < batch.layers.size(); ++i) {
      work(i, c, LayerSamples(batch.layers[i], layout[i], batch.samples, type), weight);
    }
  }
  report();
}

std::vector<KroneckerBlock> KroneckerPasses::blocks() {
  const bool reduce = options_.weight_sharing == "reduce";
  for (std::size_t b = 0; b < batches_.size(); ++b) {
    visit(b, /*by_sample=*/reduce,
          [this, reduce](std::size_t i, std::int64_t c, const LayerSamples& samples, double weight) {
            if (c == 0) {  // inputs are the same for each vector
              const std::int64_t positions = reduce ? 1 : samples.positions();
              const auto terms = static_cast<double>(samples_) * static_cast<double>(positions);
              add_inputs(blocks_[i].input_factor, samples, 1 / terms, reduce, memory_);
            }
            const at::Tensor gradients = samples.gradients(0, samples.samples());
            add_outer_products(blocks_[i].gradient_factor, reduce ? gradients.sum(3, /*keepdim=*/true) : gradients,
                               weight);
          });
  }
  for (KroneckerBlock& block : blocks_) {
    if (!block.input_factor.isfinite().all().item<bool>() || !block.gradient_factor.isfinite().all().item<bool>()) {
      fail(kFactors, "the factors of ", block.name, " are not finite: look at the loss and at the weights");
    }
    decompose(block);
  }
  if (options_.corrected) {
    std::vector<at::Tensor> sums(blocks_.size());
    for (std::size_t b = 0; b < batches_.size(); ++b) {
      visit(b, /*by_sample=*/true,
            [this, &sums](std::size_t i, std::int64_t, const LayerSamples& samples, double weight) {
              add_projected_squares(sums[i], blocks_[i], samples, weight, memory_);
            });
    }
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      blocks_[i].eigenvalues = sums[i];
    }
  }
  return blocks_;
}

void KroneckerPasses::report() {
  ++done_;
  if (options_.progress) {
    options_.progress(done_, std::ssize(batches_) * (options_.corrected ? 2 : 1));
  }
}

}  // namespace gradwise
