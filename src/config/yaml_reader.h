// SPDX-License-Identifier: GPL-2.0-or-later
//
// The YAML configuration file. Format: plyfs.yaml(5).
#pragma once

#include <string>
#include <string_view>

#include "config/draft.h"

namespace plyfs::config {

// Reads a document into `draft` and returns everything that is wrong with it. `source` is how
// messages name it; relative paths in it are relative to `directory`.
ConfigErrors read_yaml(std::string_view text, const std::string& source,
                       const std::string& directory, Draft& draft);

// The same from the file at `path`, an absolute path; the directory is the file's own.
ConfigErrors read_yaml_file(const std::string& path, const std::string& source, Draft& draft);

}  // namespace plyfs::config
