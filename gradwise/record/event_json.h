#pragma once

#include <nlohmann/json_fwd.hpp>

#include "gradwise/core/event.h"

namespace gradwise {

/// An event as one flat JSON object: `time`, `step`, `kind` (step, epoch, validation, checkpoint, issue, message,
/// run_started, readings, diagnosis, run_finished) and the payload's fields by their names; what is not finite is null.
[[nodiscard]] nlohmann::ordered_json event_to_json(const Event& event);

[[nodiscard]] nlohmann::ordered_json finding_to_json(const Finding& finding);
/// The other way round; what is missing keeps its default.
[[nodiscard]] Finding finding_from_json(const nlohmann::ordered_json& json);

}  // namespace gradwise
