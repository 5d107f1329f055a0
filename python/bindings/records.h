#pragma once

#include <torch/csrc/utils/pybind.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "gradwise/core/finding.h"
#include "gradwise/core/reading.h"
#include "gradwise/core/step_info.h"
#include "gradwise/curvature/condition_number.h"
#include "gradwise/curvature/eigenpairs.h"
#include "gradwise/curvature/solve.h"
#include "gradwise/curvature/trace.h"
#include "gradwise/train/loop.h"

/// The core's structs as dicts, under the names of their fields; what was not measured is NaN, as in C++.
namespace gradwise::python {

[[nodiscard]] py::dict dict_of(const Issue& issue);
[[nodiscard]] py::list list_of(const std::vector<Issue>& issues);
[[nodiscard]] py::dict dict_of(const Finding& finding);
[[nodiscard]] py::dict dict_of(const StepInfo& step);
[[nodiscard]] py::dict dict_of(const EpochStats& epoch);
[[nodiscard]] py::dict dict_of(const ValidationStats& validation);
[[nodiscard]] py::dict dict_of(const FitResult& result);
[[nodiscard]] py::dict dict_of(const ParameterReading& reading);
[[nodiscard]] py::dict dict_of(const Estimate& estimate);
[[nodiscard]] py::dict dict_of(const DiagonalEstimate& estimate);
[[nodiscard]] py::dict dict_of(const Eigenpairs& pairs);
[[nodiscard]] py::dict dict_of(const ConditionNumber& condition);
[[nodiscard]] py::dict dict_of(const Solution& solution);

/// null becomes NaN: only figures that were not measured are null in the core's JSON.
template <class Json>
[[nodiscard]] py::object object_of(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
    case Json::value_t::discarded:
      return py::float_(kNotMeasured);
    case Json::value_t::boolean:
      return py::bool_(json.template get<bool>());
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return py::int_(json.template get<std::int64_t>());
    case Json::value_t::number_float:
      return py::float_(json.template get<double>());
    case Json::value_t::string:
      return py::str(json.template get<std::string>());
    case Json::value_t::binary:
      return py::none();
    case Json::value_t::array: {
      py::list list;
      for (const Json& item : json) {
        list.append(object_of(item));
      }
      return list;
    }
    case Json::value_t::object: {
      py::dict dict;
      for (const auto& item : json.items()) {
        dict[py::str(item.key())] = object_of(item.value());
      }
      return dict;
    }
  }
  return py::none();
}

}  // namespace gradwise::python
