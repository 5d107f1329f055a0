# Finds LibTorch and makes it available as Gradwise::torch with its headers as system headers.
# Order: CMAKE_PREFIX_PATH or Torch_DIR, the environment's GRADWISE_TORCH, the project's .venv.
find_program(GRADWISE_PYTHON NAMES python3 HINTS ${CMAKE_CURRENT_LIST_DIR}/../.venv/bin NO_DEFAULT_PATH)
if(NOT GRADWISE_PYTHON)
  find_program(GRADWISE_PYTHON NAMES python3 REQUIRED)
endif()

if(DEFINED ENV{GRADWISE_TORCH})
  list(PREPEND CMAKE_PREFIX_PATH $ENV{GRADWISE_TORCH})
elseif(NOT Torch_DIR AND NOT CMAKE_PREFIX_PATH)
  file(GLOB _venv_torch ${CMAKE_CURRENT_LIST_DIR}/../.venv/lib/python3*/site-packages/torch)
  list(APPEND CMAKE_PREFIX_PATH ${_venv_torch})
endif()

find_package(Torch QUIET)
if(NOT Torch_FOUND)
  message(FATAL_ERROR "LibTorch was not found. Run scripts/setup.sh, or set GRADWISE_TORCH (or CMAKE_PREFIX_PATH) "
                      "to the folder of a LibTorch or of a Python package torch.")
endif()
if(Torch_VERSION AND Torch_VERSION VERSION_LESS 2.13)
  message(FATAL_ERROR "LibTorch ${Torch_VERSION} was found, Gradwise needs 2.13 or newer.")
endif()

if(NOT TARGET Gradwise::torch)
  add_library(Gradwise::torch INTERFACE IMPORTED GLOBAL)
  target_link_libraries(Gradwise::torch INTERFACE ${TORCH_LIBRARIES})
  target_include_directories(Gradwise::torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
endif()
