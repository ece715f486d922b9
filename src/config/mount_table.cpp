// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/mount_table.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>

namespace plyfs::config {

namespace {

bool is_octal(char c) {
    return c >= '0' && c <= '7';
}

// The kernel writes blanks, newlines and backslashes as \OOO.
std::string unescape(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) &&
            is_octal(text[i + 2]) && is_octal(text[i + 3])) {
            out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                     (text[i + 3] - '0'));
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

std::vector<std::string_view> split(std::string_view line) {
    std::vector<std::string_view> fields;
    while (!line.empty()) {
        const std::size_t blank = std::min(line.find(' '), line.size());
        if (blank != 0) fields.push_back(line.substr(0, blank));
        line.remove_prefix(std::min(blank + 1, line.size()));
    }
    return fields;
}

// ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS
std::optional<MountedFileSystem> parse_line(std::string_view line) {
    const std::vector<std::string_view> fields = split(line);
    std::size_t dash = 6;
    while (dash < fields.size() && fields[dash] != "-") ++dash;
    if (dash + 1 >= fields.size()) return std::nullopt;
    MountedFileSystem mounted;
    const std::string_view id = fields[0];
    if (std::from_chars(id.data(), id.data() + id.size(), mounted.id).ec != std::errc())
        return std::nullopt;
    mounted.device = fields[2];
    mounted.root = unescape(fields[3]);
    mounted.mountpoint = unescape(fields[4]);
    mounted.type = fields[dash + 1];
    return mounted;
}

}  // namespace

std::vector<MountedFileSystem> parse_mount_table(std::string_view text) {
    std::vector<MountedFileSystem> table;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        if (auto mounted = parse_line(text.substr(0, end))) table.push_back(*std::move(mounted));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return table;
}

std::vector<MountedFileSystem> read_mount_table() {
    std::ifstream file("/proc/thread-self/mountinfo");
    std::ostringstream text;
    text << file.rdbuf();
    return parse_mount_table(text.str());
}

bool is_plyfs(const MountedFileSystem& mounted) {
    return mounted.type == "fuse.plyfs" || mounted.type.starts_with("fuse.plyfs.");
}

}  // namespace plyfs::config
