#pragma once

#include <nlohmann/json_fwd.hpp>

#include "gradwise/core/event.h"

namespace gradwise {

/// An event as one flat JSON object: `time`, `step`, `kind` (step, epoch, validation, checkpoint, issue, message,
/// run_started, run_finished) and the payload's fields by their names; what is not finite is null.
[[nodiscard]] nlohmann::ordered_json event_to_json(const Event& event);

}  // namespace gradwise
