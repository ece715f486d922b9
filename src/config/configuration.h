// SPDX-License-Identifier: GPL-2.0-or-later
//
// The configuration module's front: from what the user gave to validated options.
//
//   load()     reads the file and the command line, applies defaults, expands the branches;
//   validate() looks at the directories and at how the options go together;
//   dump()     prints the result as a file that load() reads back to the same options.
//
// Nothing here mounts or keeps a descriptor. Not thread-safe with a changing working directory.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "config/config_error.h"
#include "config/draft.h"
#include "config/options.h"

namespace plyfs::config {

// What the user gave.
struct Request {
    // A branch list, or a YAML file; "" or "none" where config= names the file.
    std::string source;
    std::string mountpoint;                 // "": the file's
    std::vector<std::string> option_lists;  // what followed each -o, in order
    bool sloppy = false;                    // unknown -o options are warnings
};

// Whom the defaults are for.
struct Environment {
    std::string directory;  // absolute; relative paths of the command line are relative to it
    bool root = false;      // whether the mount is made with root's rights

    static Environment current();
};

// Options and what messages about them need.
struct Configuration {
    Options options;
    std::vector<Location> branch_origins;  // for options.branches, one each
    Origins origins;
    std::vector<std::string> warnings;  // one line each
};

// True for the name of an existing regular file that ends in .yaml or .yml.
bool is_yaml_file(const std::string& source);

// Whether the options name what is united (lowerdir= and so on, as those of mount -t overlay do):
// then there is no source, or a word that means nothing.
bool names_layers(const std::vector<std::string>& option_lists);

// A source that names a YAML file is read; the options go over it. The result has its branches
// expanded and in precedence (writable ones first); validate() it before use.
std::expected<Configuration, ConfigErrors> load(const Request& request,
                                                const Environment& environment);

// The same of what dump() printed.
std::expected<Configuration, ConfigErrors> load_dump(const std::string& text,
                                                     const Environment& environment);

enum class MountpointUse {
    Free,   // about to be mounted on: must be an empty directory
    InUse,  // only being checked: may carry the very mount that is described
};

// What speaks against mounting; may add warnings to the configuration. An empty mountpoint is not
// looked at.
ConfigErrors validate(Configuration& configuration, MountpointUse use);

// The whole of `options` as a YAML file, but for foreground and debug, which files do not hold.
// Paths that are not UTF-8 cannot be written in YAML and come back changed.
std::string dump(const Options& options);

}  // namespace plyfs::config
