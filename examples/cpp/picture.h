#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "examples/cpp/proof.h"
#include "gradwise/plot/canvas.h"

/// The folder that the program was given, made where it is not there; else the current one.
[[nodiscard]] inline std::filesystem::path folder_of(int count, char** arguments) {
  const std::filesystem::path folder = count > 1 ? arguments[1] : ".";
  std::filesystem::create_directories(folder);
  return folder;
}

/// Draws, and says where; without gnuplot that is said, and is no failure.
inline void draw_picture(Proof& proof, const std::vector<gradwise::Panel>& panels, const std::string& title,
                         const std::filesystem::path& path) {
  const gradwise::PlotStatus status = gradwise::draw(panels, title, path);
  if (status.drawn || status.reason == "the program gnuplot is not installed") {
    std::printf("  %s\n", status.drawn ? ("drawn: " + path.string()).c_str() : status.reason.c_str());
  } else {
    proof.holds(("the picture is drawn: " + status.reason).c_str(), false);
  }
}
