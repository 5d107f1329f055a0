#pragma once

#include "gradwise/core/named_parameters.h"

namespace gradwise::python {

/// Gives each parameter, before a native hook is set on it, PyTorch's list of Python hooks: the first
/// `register_post_accumulate_grad_hook` would put the list in the place of the native hook otherwise. Where it stands
/// below the native hook, that one runs it, whatever it holds then. Frozen parameters get theirs too, for when they are
/// unfrozen; those that are no leaves or not of floating point get none. The list is called only where it holds a hook,
/// which is looked up by whatever thread runs backward, without the interpreter lock: a hook that is registered
/// meanwhile may miss that pass. Needs the interpreter lock itself.
void keep_room_for_hooks(const NamedParameters& parameters);

}  // namespace gradwise::python
