#include "python/bindings/docstrings.h"
#include "python/bindings/groups.h"
#include "python/bindings/watching.h"

namespace gradwise::python {

void bind_monitor(py::module_& module) {
  py::class_<Watching, std::shared_ptr<Watching>>(module, "Watching", doc::TrainingMonitor)
      .def(py::init<const py::object&, const py::dict&, const py::dict&, const std::string&>())
      .def("forward_end", &Watching::forward_end)
      .def("backward_end", &Watching::backward_end, py::arg("scale"), py::arg("fused").none(true))
      .def("expect_backwards", &Watching::expect_backwards)
      .def("expect_late_steps", &Watching::expect_late_steps)
      .def("drop_gradients", &Watching::drop_gradients)
      .def("begin_update", &Watching::begin_update, py::arg("scale"), py::arg("lr"), py::arg("loss_scale"),
           py::arg("fused").none(true))
      .def("end_update", &Watching::end_update, py::arg("skipped"), py::arg("fused").none(true))
      .def("step_hooks",
           [](const std::shared_ptr<Watching>& watching) {
             return py::make_tuple(fast_function<4, &Watching::before_step>(watching, "before_step"),
                                   fast_function<4, &Watching::after_step>(watching, "after_step"));
           })
      .def("finisher",
           [](const std::shared_ptr<Watching>& watching) {
             return fast_function<1, &Watching::finish_with>(watching, "finish_with");
           })
      .def("end_alone", &Watching::end_alone, py::arg("scale"), py::arg("loss_scale"), py::arg("fused").none(true))
      .def("end_skipped", &Watching::end_skipped, py::arg("lr"), py::arg("loss_scale"), py::arg("fused").none(true))
      .def("tell_loss", &Watching::tell_loss, py::arg("loss"))
      .def("suppose_loss", &Watching::suppose_loss, py::arg("loss"))
      .def("finish", &Watching::finish, py::arg("samples"))
      .def("last_step", &Watching::last_step)
      .def("readings", &Watching::readings)
      .def("diagnosis", &Watching::diagnosis)
      .def("close", &Watching::close)
      .def_property_readonly("clock", &Watching::clock)
      .def_property_readonly("told_before_update", &Watching::told_before_update)
      .def_property_readonly("under_way", &Watching::under_way)
      .def_property_readonly("closed", &Watching::closed)
      .def_property_readonly("steps", &Watching::steps);
}

}  // namespace gradwise::python
