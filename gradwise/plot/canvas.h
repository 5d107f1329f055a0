#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace gradwise {

/// One diagram of a picture, in gnuplot's language. `commands` may define data blocks and set what it likes: the
/// canvas resets everything before the next panel.
struct Panel {
  std::string title;
  std::string commands;
  double height = 1;  ///< beside the other panels of the picture
};

struct PlotStatus {
  bool drawn = false;
  std::string reason;  ///< why not
};

/// Draws the panels below one another with the program gnuplot: PNG, SVG or PDF by the path's extension, 1200 pixels
/// wide. An Error for another extension; where gnuplot is missing, there is nothing to draw or the path can't be
/// written (see `folder_problem`), the status says so. The file is complete or not there.
[[nodiscard]] PlotStatus draw(const std::vector<Panel>& panels, const std::string& title,
                              const std::filesystem::path& path);

/// Throws the Error that `draw` would for a path of another extension than .png, .svg and .pdf.
void check_picture_path(const std::filesystem::path& path);

/// Why no picture can be put into a folder, as "there is no folder x"; "" where one can.
[[nodiscard]] std::string folder_problem(const std::filesystem::path& folder);

}  // namespace gradwise
