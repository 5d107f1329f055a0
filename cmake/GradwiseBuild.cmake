# How Gradwise's own code is compiled, and the functions that declare its groups, tests and probes.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
# One flag for libraries and programs alike, for they share a precompiled header.
add_compile_options(-fPIC)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# -O2: the hot loops ask for vectorisation themselves; asserts stay on, they are cheap beside tensor work.
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
# Full debug information of LibTorch's headers makes object files of 100 MB; line tables are enough for sanitizers.
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The sloppiness lets ccache serve files that use a precompiled header, the base folder lets clones share.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
endif()

set(GRADWISE_SANITIZE "" CACHE STRING "Value of -fsanitize= for our own code, as address,undefined")

add_library(gradwise_flags INTERFACE)
# -ffp-contract=off: schedules promise the doubles of the reference, on machines with FMA too.
target_compile_options(gradwise_flags INTERFACE -Wall -Wextra -Wpedantic -Werror -ffp-contract=off
                                                -fopenmp-simd)
if(GRADWISE_SANITIZE)
  # GCC 12 takes an empty std::optional for uninitialised once it is instrumented.
  target_compile_options(gradwise_flags INTERFACE -Wno-maybe-uninitialized)
  if(GRADWISE_SANITIZE MATCHES thread)
    # LibTorch's reference counts have a fence, which the sanitizer does not know; it is not ours to change.
    target_compile_options(gradwise_flags INTERFACE -Wno-tsan)
  endif()
  target_compile_options(gradwise_flags INTERFACE -fsanitize=${GRADWISE_SANITIZE} -fno-sanitize-recover=all
                                                  -fno-sanitize=vptr -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${GRADWISE_SANITIZE})
endif()

# LibTorch's headers are parsed once: they cost a file several times what its own code does. Sources include what they
# use all the same.
set(_gradwise_precompiled <ATen/ATen.h> <torch/csrc/autograd/autograd.h> <torch/csrc/autograd/custom_function.h>
                          <torch/optim/optimizer.h> <nlohmann/json.hpp> <filesystem> <functional> <map> <sstream>)

# gradwise_precompile(tests FLAGS target LIBRARIES x HEADERS <h>): gradwise_precompiled_tests, for REUSE_FROM
function(gradwise_precompile name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "FLAGS" "LIBRARIES;HEADERS")
  set(target gradwise_precompiled_${name})
  file(WRITE ${CMAKE_BINARY_DIR}/precompiled_${name}.cpp "")
  add_library(${target} OBJECT EXCLUDE_FROM_ALL ${CMAKE_BINARY_DIR}/precompiled_${name}.cpp)
  find_package(nlohmann_json REQUIRED)
  target_link_libraries(${target} PRIVATE ${arg_FLAGS} Gradwise::torch nlohmann_json::nlohmann_json ${arg_LIBRARIES})
  target_precompile_headers(${target} PRIVATE ${_gradwise_precompiled} ${arg_HEADERS})
endfunction()

# Tests spend their time in LibTorch and in the library: to optimise them costs more than it saves.
add_library(gradwise_test_flags INTERFACE)
target_link_libraries(gradwise_test_flags INTERFACE gradwise_flags)
target_compile_options(gradwise_test_flags INTERFACE -O0)

# Files are compiled several at a time: LibTorch's headers cost more than our own code, even precompiled.
set(CMAKE_UNITY_BUILD_BATCH_SIZE 10)

# gradwise_group(NAME data SOURCES a.cpp HEADERS a.h DEPENDS core LIBRARIES ZLIB::ZLIB [NO_TORCH])
function(gradwise_group)
  cmake_parse_arguments(PARSE_ARGV 0 arg "NO_TORCH" "NAME" "SOURCES;HEADERS;DEPENDS;LIBRARIES")
  set(target gradwise_${arg_NAME})
  add_library(${target} STATIC ${arg_SOURCES})
  add_library(Gradwise::${arg_NAME} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${arg_NAME} UNITY_BUILD ON)
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${arg_HEADERS})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                              $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:gradwise_flags>)
  foreach(group IN LISTS arg_DEPENDS)
    target_link_libraries(${target} PUBLIC gradwise_${group})
  endforeach()
  if(arg_NO_TORCH)
    set_target_properties(${target} PROPERTIES UNITY_BUILD_BATCH_SIZE 30)
  else()
    target_link_libraries(${target} PUBLIC Gradwise::torch nlohmann_json::nlohmann_json)
    target_precompile_headers(${target} REUSE_FROM gradwise_precompiled_torch)
  endif()
  target_link_libraries(${target} PRIVATE ${arg_LIBRARIES})
  set_property(GLOBAL APPEND PROPERTY GRADWISE_GROUPS ${arg_NAME})
endfunction()

# Links a program with groups, and with the precompiled header `headers` where one of them uses LibTorch.
function(gradwise_use_groups program headers)
  set(torch_free events kernels rules record report)
  foreach(group IN LISTS ARGN)
    target_link_libraries(${program} PRIVATE gradwise_${group})
    if(NOT group IN_LIST torch_free)
      set(uses_torch TRUE)
    endif()
  endforeach()
  if(uses_torch)
    target_precompile_headers(${program} REUSE_FROM gradwise_precompiled_${headers})
  endif()
endfunction()

# Tests run side by side: threads that spin while they wait would take the others' cores.
set(GRADWISE_TEST_ENVIRONMENT OMP_WAIT_POLICY=passive)

# gradwise_test(NAME data_test SOURCES x_test.cpp GROUPS data): a GoogleTest program, one ctest entry a program
function(gradwise_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME" "SOURCES;GROUPS;LIBRARIES")
  add_executable(${arg_NAME} ${arg_SOURCES})
  set_target_properties(${arg_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests UNITY_BUILD ON
                                               UNITY_BUILD_BATCH_SIZE 8)
  target_link_libraries(${arg_NAME} PRIVATE gradwise_test_flags ${arg_LIBRARIES} GTest::gtest_main)
  gradwise_use_groups(${arg_NAME} tests ${arg_GROUPS})
  add_test(NAME ${arg_NAME} COMMAND ${arg_NAME})
  set_tests_properties(${arg_NAME} PROPERTIES ENVIRONMENT "${GRADWISE_TEST_ENVIRONMENT}")
endfunction()

# gradwise_probe(NAME scheduler_probe SOURCES p.cpp GROUPS optim): a small program that a Python test drives
function(gradwise_probe)
  if(GRADWISE_SANITIZE)
    return() # Python drives the release build
  endif()
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME" "SOURCES;GROUPS;LIBRARIES")
  add_executable(${arg_NAME} ${arg_SOURCES})
  set_target_properties(${arg_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  # GoogleTest is in the tests' precompiled header.
  target_link_libraries(${arg_NAME} PRIVATE gradwise_test_flags ${arg_LIBRARIES} GTest::gtest)
  gradwise_use_groups(${arg_NAME} tests ${arg_GROUPS})
endfunction()

# gradwise_pytest(NAME optim_parity FILE test_parity.py): a pytest file as one ctest entry
function(gradwise_pytest)
  if(GRADWISE_SANITIZE)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;FILE" "")
  add_test(NAME ${arg_NAME} COMMAND ${GRADWISE_PYTHON} -m pytest -q -p no:cacheprovider
                                    ${CMAKE_CURRENT_SOURCE_DIR}/${arg_FILE})
  set_tests_properties(${arg_NAME} PROPERTIES LABELS python
                       ENVIRONMENT "GRADWISE_BUILD=${CMAKE_BINARY_DIR};${GRADWISE_TEST_ENVIRONMENT}")
endfunction()
