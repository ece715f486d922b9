// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/branch_expansion.h"

#include <glob.h>

#include <filesystem>
#include <memory>

#include <fmt/format.h>

namespace plyfs::config {

namespace {

bool has_wildcard(const std::string& pattern) {
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] == '\\')
            ++i;
        else if (pattern[i] == '*' || pattern[i] == '?' || pattern[i] == '[')
            return true;
    }
    return false;
}

std::string quote_for_glob(const std::string& path) {
    std::string out;
    for (const char c : path) {
        if (c == '*' || c == '?' || c == '[' || c == '\\') out += '\\';
        out += c;
    }
    return out;
}

std::string unquote_glob(const std::string& pattern) {
    std::string out;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
        out += pattern[i];
    }
    return out;
}

std::expected<std::string, Complaint> real_path(const std::string& path) {
    std::error_code error;
    const auto real = std::filesystem::canonical(path, error);
    if (!error) return real.string();
    std::string hint;
    if (error == std::errc::no_such_file_or_directory)
        hint = "create it, or see whether its disk is mounted";
    else if (error == std::errc::not_connected)
        hint = "the daemon of a FUSE mount there has died: unmount it";
    return std::unexpected(Complaint{fmt::format("{}: {}", path, error.message()), hint});
}

std::vector<std::string> matching_directories(const std::string& pattern) {
    glob_t matches{};
    const auto release = [](glob_t* found) { globfree(found); };
    const std::unique_ptr<glob_t, decltype(release)> owner(&matches, release);
    std::vector<std::string> directories;
    if (glob(pattern.c_str(), 0, nullptr, &matches) != 0) return directories;
    for (std::size_t i = 0; i < matches.gl_pathc; ++i) {
        std::error_code error;
        if (std::filesystem::is_directory(matches.gl_pathv[i], error))
            directories.emplace_back(matches.gl_pathv[i]);
    }
    return directories;
}

std::expected<std::vector<std::string>, Complaint> expand_glob(const std::string& pattern,
                                                               const std::string& directory) {
    const std::string literal = absolute_path(unquote_glob(pattern), directory);
    std::vector<std::string> found;
    if (has_wildcard(pattern)) {
        found = matching_directories(
            pattern.starts_with('/') ? pattern : quote_for_glob(directory) + '/' + pattern);
        std::error_code error;
        if (found.empty() && !std::filesystem::is_directory(literal, error))
            return std::unexpected(Complaint{fmt::format("`{}` matches no directory", pattern),
                                             "see whether the disks are mounted"});
    }
    if (found.empty()) found.push_back(literal);

    std::vector<std::string> real;
    for (const std::string& path : found) {
        auto resolved = real_path(path);
        if (!resolved) return std::unexpected(std::move(resolved.error()));
        real.push_back(*std::move(resolved));
    }
    return real;
}

}  // namespace

std::string absolute_path(const std::string& path, const std::string& directory) {
    if (path.starts_with('/') || directory.empty()) return path;
    return directory + '/' + path;
}

std::expected<std::vector<std::string>, ConfigError> expand(const BranchPattern& branch) {
    if (branch.glob) {
        auto paths = expand_glob(branch.path, branch.where.directory);
        if (!paths) return std::unexpected(at(branch.where, std::move(paths.error())));
        return *std::move(paths);
    }
    auto path = real_path(absolute_path(branch.path, branch.where.directory));
    if (!path) return std::unexpected(at(branch.where, std::move(path.error())));
    return std::vector{*std::move(path)};
}

}  // namespace plyfs::config
