# Finds LibTorch and makes it available as Gradwise::torch with its headers as system headers.
# Order: CMAKE_PREFIX_PATH, the environment's GRADWISE_TORCH, the project's .venv; for a wheel the torch of the Python
# that builds it.
# Not by find_package(Torch): built for CUDA, that asks for the CUDA toolkit, which Gradwise compiles nothing against.
if(SKBUILD)
  set(GRADWISE_PYTHON ${Python3_EXECUTABLE} CACHE FILEPATH "" FORCE)
  execute_process(COMMAND ${GRADWISE_PYTHON} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
                  OUTPUT_VARIABLE _gradwise_wheel_torch OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  list(PREPEND CMAKE_PREFIX_PATH ${_gradwise_wheel_torch})
  unset(GRADWISE_TORCH_ROOT CACHE)
endif()
find_program(GRADWISE_PYTHON NAMES python3 HINTS ${CMAKE_CURRENT_LIST_DIR}/../.venv/bin NO_DEFAULT_PATH)
if(NOT GRADWISE_PYTHON)
  find_program(GRADWISE_PYTHON NAMES python3 REQUIRED)
endif()

file(GLOB _gradwise_venv_torch ${CMAKE_CURRENT_LIST_DIR}/../.venv/lib/python3*/site-packages/torch)
find_path(GRADWISE_TORCH_ROOT share/cmake/Torch/TorchConfig.cmake
          HINTS ${CMAKE_PREFIX_PATH} ENV GRADWISE_TORCH ${_gradwise_venv_torch} NO_DEFAULT_PATH
          DOC "Folder of a LibTorch or of a Python package torch")
if(NOT GRADWISE_TORCH_ROOT)
  message(FATAL_ERROR "LibTorch was not found. Run scripts/setup.sh, or set GRADWISE_TORCH (or CMAKE_PREFIX_PATH) "
                      "to the folder of a LibTorch or of a Python package torch.")
endif()

set(_gradwise_torch_version 0)
if(EXISTS ${GRADWISE_TORCH_ROOT}/include/torch/headeronly/version.h)
  file(STRINGS ${GRADWISE_TORCH_ROOT}/include/torch/headeronly/version.h _gradwise_torch_version
       REGEX "^#define TORCH_VERSION_(MAJOR|MINOR) ")
endif()
string(REGEX REPLACE "[^0-9;]" "" _gradwise_torch_version "${_gradwise_torch_version}")
list(JOIN _gradwise_torch_version "." _gradwise_torch_version)
if(_gradwise_torch_version VERSION_LESS 2.13)
  message(FATAL_ERROR "The LibTorch in ${GRADWISE_TORCH_ROOT} is too old, Gradwise needs 2.13 or newer.")
endif()

if(NOT TARGET Gradwise::torch)
  add_library(Gradwise::torch INTERFACE IMPORTED GLOBAL)
  # libtorch.so loads the CUDA backend where there is one, though no symbol of it is used. What that backend itself
  # needs lies beside it in the Python package and is found when it is loaded.
  set(_gradwise_torch_lib ${GRADWISE_TORCH_ROOT}/lib)

  # at::parallel_for runs serially, and says nothing, in a file that is compiled without OpenMP. A package that brings
  # its own libgomp is linked with that one: a program must load no second.
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  if(EXISTS ${_gradwise_torch_lib}/libgomp.so.1)
    set(_gradwise_openmp ${_gradwise_torch_lib}/libgomp.so.1)
  else()
    set(_gradwise_openmp ${OpenMP_CXX_LIBRARIES})
  endif()
  target_compile_options(Gradwise::torch INTERFACE ${OpenMP_CXX_FLAGS})

  target_link_libraries(Gradwise::torch INTERFACE -Wl,--no-as-needed ${_gradwise_torch_lib}/libtorch.so -Wl,--as-needed
                        ${_gradwise_torch_lib}/libtorch_cpu.so ${_gradwise_torch_lib}/libc10.so ${_gradwise_openmp})
  if(EXISTS ${_gradwise_torch_lib}/libtorch_cuda.so)
    target_link_options(Gradwise::torch INTERFACE -Wl,--allow-shlib-undefined)
  endif()
  target_include_directories(Gradwise::torch SYSTEM INTERFACE
                             ${GRADWISE_TORCH_ROOT}/include ${GRADWISE_TORCH_ROOT}/include/torch/csrc/api/include)
endif()
