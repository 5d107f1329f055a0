#include "gradwise/autograd/per_sample/sample_recording.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones_like.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <optional>
#include <string_view>
#include <typeinfo>
#include <utility>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/per_sample/open_use.h"
#include "gradwise/autograd/per_sample/sample_losses.h"
#include "gradwise/autograd/per_sample/vmapped_gradients.h"
#include "gradwise/autograd/transforms/fallback.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {
namespace {

// What may change whether samples mix, and where they are, is in the graph or in the model's mode: a norm that comes
// first leaves no trace in the graph.
std::vector<std::int64_t> kind_of(const std::vector<OpenUse>& uses, std::int64_t samples, std::int64_t graph_hash,
                                  bool training) {
  std::vector<std::int64_t> kind = {samples, graph_hash, training ? 1 : 0};
  for (const OpenUse& open : uses) {
    const torch::autograd::Node& node = *open.use.node;
    kind.push_back(static_cast<std::int64_t>(open.parameter));
    kind.push_back(static_cast<std::int64_t>(open.use.edge));
    kind.push_back(static_cast<std::int64_t>(typeid(node).hash_code()));
    kind.push_back(open.gradient.dim());
    kind.insert(kind.end(), open.gradient.sizes().begin(), open.gradient.sizes().end());
  }
  return kind;
}

// What vmap is given does not know how many samples there are.
std::vector<std::int64_t> kind_of_sample(const RecordedSamples& batch, bool training) {
  std::vector<std::int64_t> kind = {training ? 1 : 0};
  kind.insert(kind.end(), batch.input.sizes().begin() + 1, batch.input.sizes().end());
  if (batch.target.defined()) {
    kind.push_back(-1);
    kind.insert(kind.end(), batch.target.sizes().begin() + 1, batch.target.sizes().end());
  }
  return kind;
}

// Of the device's allocator, the CPU's or Python's, whose type is lost on the way.
bool is_short_of_memory(std::string_view message) {
  constexpr std::string_view kPhrases[] = {"out of memory", "not enough memory", "can't allocate memory", "bad_alloc",
                                           "MemoryError"};
  return std::ranges::any_of(
      kPhrases, [message](std::string_view phrase) { return message.find(phrase) != std::string_view::npos; });
}

bool same_random_state(const State& before, const State& after) {
  for (const auto& [name, tensor] : before.tensors) {
    if (!tensor.equal(after.tensors.at(name))) {
      return false;
    }
  }
  return true;
}

// Purposes of memory, beyond those of the terms; a parameter each.
constexpr std::size_t kFirstResult = 16;
constexpr std::size_t kFirstBlock = std::size_t{1} << 32U;

}  // namespace

const FactoredTerm* outer_product(const RecordedSamples& batch, std::size_t parameter) {
  if (!batch.by_rules || batch.terms[parameter].size() != 1) {
    return nullptr;
  }
  const auto* term = std::get_if<FactoredTerm>(&batch.terms[parameter][0].term);
  return term != nullptr && term->is_outer_product() ? term : nullptr;
}

SampleRecorder::SampleRecorder(Model model, LossFunction loss_function)
    : model_(std::move(model)), loss_function_(std::move(loss_function)), parameters_(model_.parameters.trainable()) {
  GRADWISE_CHECK(parameters_.size() > 0, "per sample", "no parameter of the model asks for a gradient");
  parameters_.check_names("per sample");
  parameters_.check_types("per sample");
}

RecordedSamples SampleRecorder::record(const at::Tensor& input, const at::Tensor& target) {
  GRADWISE_CHECK(input.defined() && input.dim() > 0 && input.size(0) > 0, "per sample",
                 "the input has no samples along dimension 0");
  RecordedSamples batch{input, target, input.size(0), {}, false, false, {}};
  GRADWISE_CHECK(!target.defined() || (target.dim() > 0 && target.size(0) == batch.samples), "per sample",
                 "the target has the shape ", target.sizes(), " for ", batch.samples, " samples, allowed: (",
                 batch.samples, ", ...)");
  loop_reason_.clear();
  if (batch.samples == 1) {
    return batch;  // its gradient is the batch's
  }
  const State before = random_state(input.device());
  {
    const at::AutoGradMode grad_mode(true);
    const at::Tensor output = model_.forward({input, target, {}});
    batch.losses = sample_losses(loss_function_, output, target, batch.samples, losses_by_loop_);
  }
  const at::NoGradGuard no_grad;
  batch.random = !same_random_state(before, random_state(input.device()));
  no_rules_ = find_terms(batch);
  loop_reason_ = no_rules_;
  batch.by_rules = no_rules_.empty();
  return batch;
}

std::string SampleRecorder::find_terms(RecordedSamples& batch) {
  ParameterUses uses = parameter_uses(batch.losses, parameters_.tensors, batch.samples);
  if (!uses.unknown.empty()) {
    return uses.unknown;
  }
  std::vector<OpenUse> open;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    for (ParameterUse& use : uses.of_parameters[i]) {
      std::optional<Operand> operand = recorded_operand(*use.node, use.edge, use.shape);
      if (!operand) {
        return "there is no rule for how " + use.node->name() + " takes " + parameters_.names[i];
      }
      open.push_back({i, std::move(use), std::move(*operand), {}});
    }
  }
  std::vector<torch::autograd::Node*> nodes;
  for (const OpenUse& use : open) {
    nodes.push_back(use.use.node);
  }
  const std::vector<at::Tensor> gradients = arriving_gradients(batch.losses, at::ones_like(batch.losses), nodes);
  for (std::size_t i = open.size(); i-- > 0;) {
    open[i].gradient = gradients[i];
    if (!gradients[i].defined()) {
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));  // the loss does not depend on it
    }
  }
  const Kind kind = kind_of(open, batch.samples, uses.graph_hash, is_training());
  const auto known = known_layouts_.find(kind);
  bool certain = true;
  const auto layouts =
      known != known_layouts_.end() ? std::optional(known->second) : layouts_of(batch.losses, open, certain);
  if (!layouts) {
    return "the samples of the batch mix, or an operator's rows are in an order that is not known";
  }
  batch.terms.resize(parameters_.size());
  for (std::size_t i = 0; i < open.size(); ++i) {
    auto term = sample_term(open[i].operand, open[i].gradient, open[i].use.shape, (*layouts)[i], batch.samples);
    if (!term) {
      return "there is no rule for the shapes in which " + parameters_.names[open[i].parameter] + " is used";
    }
    batch.terms[open[i].parameter].push_back({std::move(open[i].use), std::move(*term)});
  }
  if (known == known_layouts_.end()) {
    if (!batch.random && !agrees_with_one(batch)) {
      return "a sample's gradient is another in the batch than alone";
    }
    if (certain) {
      known_layouts_.emplace(kind, *layouts);
    }
  }
  return {};
}

at::Tensor SampleRecorder::place(Place kind, std::size_t parameter, std::int64_t count) {
  const at::Tensor& like = parameters_.tensors[parameter];
  std::vector<std::int64_t> shape = {count};
  shape.insert(shape.end(), like.sizes().begin(), like.sizes().end());
  const std::size_t first = kind == Place::result ? kFirstResult : kFirstBlock;
  return memory_.take(first + parameter, shape, like.options().requires_grad(false));
}

std::vector<at::Tensor> SampleRecorder::gradients_of_one(const RecordedSamples& batch, std::int64_t sample) const {
  const at::AutoGradMode grad_mode(true);
  const at::Tensor input = batch.input.narrow(0, sample, 1);
  const at::Tensor target = batch.target.defined() ? batch.target.narrow(0, sample, 1) : batch.target;
  bool by_loop = true;
  const at::Tensor loss =
      sample_losses(loss_function_, model_.forward({input, target, {}}), target, /*samples=*/1, by_loop);
  auto found = torch::autograd::grad({loss}, parameters_.tensors, {at::ones_like(loss)}, /*retain_graph=*/false,
                                     /*create_graph=*/false, /*allow_unused=*/true);
  for (at::Tensor& gradient : found) {
    gradient = gradient.defined() && gradient.is_sparse() ? gradient.to_dense() : gradient;
  }
  return filled_with_zeros(std::move(found), parameters_.tensors);
}

bool SampleRecorder::agrees_with_one(const RecordedSamples& batch) {
  const std::int64_t sample = batch.samples / 2;
  const std::vector<at::Tensor> alone = gradients_of_one(batch, sample);
  double difference = 0;
  double size = 0;
  double tolerance = 1e-6;
  for (std::size_t i = 0; i < alone.size(); ++i) {
    const at::Tensor in_batch = at::empty_like(alone[i], at::MemoryFormat::Contiguous).unsqueeze(0);
    write_parameter(batch.terms[i], sample, in_batch);
    const at::Tensor wide = alone[i].to(at::kDouble);
    difference += (in_batch[0].to(at::kDouble) - wide).square().sum().item<double>();
    size += wide.square().sum().item<double>();
    const at::ScalarType type = alone[i].scalar_type();
    tolerance = std::max(tolerance, type == at::kDouble ? 1e-6 : type == at::kFloat ? 1e-2 : 0.1);
  }
  return std::sqrt(difference) <= tolerance * std::sqrt(size);
}

void SampleRecorder::write_parameter(const std::vector<PlacedTerm>& terms, std::int64_t first,
                                     const at::Tensor& place) {
  bool add = terms.empty() || place_of(terms[0].use, place).numel() < place.numel();
  if (add) {
    place.zero_();
  }
  for (const PlacedTerm& placed : terms) {
    write_term(placed.term, first, place_of(placed.use, place), add, memory_);
    add = true;
  }
}

std::int64_t SampleRecorder::samples_at_once() const {
  std::int64_t elements = 0;
  for (const at::Tensor& parameter : parameters_.tensors) {
    elements += parameter.numel();
  }
  return samples_in_block(elements);
}

bool SampleRecorder::write_by_vmap(const RecordedSamples& batch, std::int64_t first,
                                   const std::vector<at::Tensor>& places, std::string& failure) {
  if (batch.samples == 1 || batch.random || !model_.forward_with) {
    return false;
  }
  const std::int64_t count = places.at(0).size(0);
  const std::int64_t step = samples_at_once();
  const auto write_all = [&] {
    for (std::int64_t start = 0; start < count; start += step) {
      const std::int64_t length = std::min(step, count - start);
      const auto part = [&](const at::Tensor& whole) { return whole.narrow(0, first + start, length); };
      const std::vector<at::Tensor> found =
          vmapped_gradients(model_, parameters_, loss_function_, part(batch.input),
                            batch.target.defined() ? part(batch.target) : batch.target);
      for (std::size_t i = 0; i < places.size(); ++i) {
        places[i].narrow(0, start, length).copy_(found[i]);
      }
    }
    return true;
  };
  const auto known = vmap_failures_.find(kind_of_sample(batch, is_training()));
  if (known == vmap_failures_.end()) {
    try {
      loop_reason_ = no_rules_ + "; vmap goes over the samples";
      return write_all();
    } catch (const std::exception& error) {
      if (detail::is_interruption(error)) {
        throw;
      }
      const std::string_view message = error.what();
      failure = message.substr(0, message.find('\n'));
    }
  }
  loop_reason_ = no_rules_ + "; each takes a pass of its own, for vmap fails: " +
                 (known == vmap_failures_.end() ? failure : known->second);
  return false;
}

void SampleRecorder::write(const RecordedSamples& batch, std::int64_t first, const std::vector<at::Tensor>& places) {
  const at::NoGradGuard no_grad;
  if (batch.by_rules) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (places[i].defined()) {
        write_parameter(batch.terms[i], first, places[i]);
      }
    }
    return;
  }
  std::string failure;
  if (write_by_vmap(batch, first, places, failure)) {
    return;
  }
  for (std::int64_t k = 0; k < places.at(0).size(0); ++k) {
    const std::vector<at::Tensor> alone = gradients_of_one(batch, first + k);
    for (std::size_t i = 0; i < places.size(); ++i) {
      places[i][k].copy_(alone[i]);
    }
  }
  if (!failure.empty() && !is_short_of_memory(failure)) {
    vmap_failures_.emplace(kind_of_sample(batch, is_training()), failure);  // the samples are in order
  }
}

}  // namespace gradwise
