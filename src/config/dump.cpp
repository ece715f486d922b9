// SPDX-License-Identifier: GPL-2.0-or-later
#include <fmt/format.h>

#include "config/configuration.h"
#include "config/names.h"
#include "config/settings.h"
#include "config/units.h"

namespace plyfs::config {

namespace {

std::string double_quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\')
            out += fmt::format("\\{}", c);
        else if (byte < 0x20 || byte == 0x7f)
            out += fmt::format("\\x{:02x}", byte);
        else
            out += c;
    }
    return out + '"';
}

void dump_branches(const Options& options, std::string& out) {
    out += options.branches.empty() ? "branches: []\n" : "branches:\n";
    for (const BranchOptions& branch : options.branches) {
        out += fmt::format("  - path: {}\n    mode: {}\n", double_quoted(branch.path),
                           name_of(branch_mode_names(), branch.mode));
        if (branch.min_free_space)
            out += fmt::format("    min_free_space: {}\n", format_size(*branch.min_free_space));
        if (branch.readers)
            out += fmt::format("    readers: {}\n", name_of(readers_names(), *branch.readers));
        if (branch.work_directory)
            out += fmt::format("    work: {}\n", double_quoted(*branch.work_directory));
    }
}

// Opens the sections on the way to `key` that are not open yet. Returns the indentation of the
// key's last part.
std::string open_sections(std::string_view key, std::string& open, std::string& out) {
    std::string indentation;
    for (std::size_t dot = key.find('.'); dot != std::string_view::npos;
         dot = key.find('.', dot + 1)) {
        const std::string section(key.substr(0, dot));
        if (open != section && !open.starts_with(section + '.')) {
            out += fmt::format("{}{}:\n", indentation, section.substr(section.rfind('.') + 1));
            open = section;
        }
        indentation += "  ";
    }
    return indentation;
}

}  // namespace

std::string dump(const Options& options) {
    std::string out = "version: 1\n";
    if (!options.mountpoint.empty())
        out += fmt::format("mountpoint: {}\n", double_quoted(options.mountpoint));
    dump_branches(options, out);
    std::string open;
    for (const Setting& setting : settings()) {
        const auto value = setting.show(options);
        if (!value) continue;
        const std::string indentation = open_sections(setting.yaml, open, out);
        const std::string_view name = setting.yaml.substr(setting.yaml.rfind('.') + 1);
        out += fmt::format("{}{}: {}\n", indentation, name,
                           setting.kind == SettingKind::Text ? double_quoted(*value) : *value);
    }
    return out;
}

}  // namespace plyfs::config
