# cmake --install, and find_package(Gradwise) for projects outside.
include(CMakePackageConfigHelpers)
get_property(groups GLOBAL PROPERTY GRADWISE_GROUPS)
list(TRANSFORM groups PREPEND gradwise_ OUTPUT_VARIABLE targets)

install(TARGETS ${targets} gradwise EXPORT GradwiseTargets FILE_SET HEADERS)
install(EXPORT GradwiseTargets NAMESPACE Gradwise:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Gradwise)
configure_package_config_file(cmake/GradwiseConfig.cmake.in GradwiseConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Gradwise)
write_basic_package_version_file(GradwiseConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/GradwiseConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/GradwiseConfigVersion.cmake
              cmake/GradwiseTorch.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Gradwise)
if(GRADWISE_CLI)
  install(TARGETS gradwise_cli)
endif()
