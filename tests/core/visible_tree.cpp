// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/visible_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <filesystem>

#include "sys/metadata.h"
#include "sys/open.h"

namespace plyfs::test {
namespace {

using Links = std::map<std::uint64_t, std::string>;  // inode -> the first path seen

std::string text_of(const std::string& path, mode_t mode, std::uint64_t links, std::uint64_t inode,
                    Links& first) {
    char text[64];
    (void)std::snprintf(text, sizeof text, "%06o", mode);
    std::string result = text;
    if (S_ISDIR(mode)) return result;
    result += " links=" + std::to_string(links);
    const auto [known, added] = first.emplace(inode, path);
    if (!added) result += " is " + known->second;
    return result;
}

void walk(DrivenUnion& u, const std::string& directory, VisibleTree& tree, Links& first) {
    const auto listed = u.list(directory);
    INFO(directory);
    REQUIRE(code(listed) == 0);
    std::map<std::string, std::uint64_t> numbers;
    for (const Listed& one : *listed) REQUIRE(numbers.emplace(one.name, one.inode).second);
    for (const auto& [name, number] : numbers) {
        const std::string path = directory.empty() ? name : directory + '/' + name;
        const auto entry = u.look(path);
        if (!entry) {
            tree[path] = "lookup: " + entry.error().message();
            continue;
        }
        const Attributes& attributes = entry->attributes;
        std::string& text = tree[path];
        text = text_of(path, attributes.mode, attributes.links, attributes.inode, first);
        if (number != attributes.inode) text += " (readdir differs)";
        const auto again = u.verbs().getattr(entry->node);
        if (!again || again->inode != attributes.inode) text += " (getattr differs)";
        if (attributes.is_regular()) {
            const auto bytes = u.read(path);
            text += bytes ? " \"" + *bytes + '"' : " read: " + bytes.error().message();
        }
        if (S_ISLNK(attributes.mode)) text += " -> " + u.read_link(path).value();
        auto xattrs = u.xattrs(path).value();
        std::ranges::sort(xattrs);
        for (const std::string& one : xattrs) text += ' ' + one + '=' + u.xattr(path, one).value();
        if (attributes.is_directory()) walk(u, path, tree, first);
    }
}

}  // namespace

VisibleTree visible_tree(DrivenUnion& u) {
    VisibleTree tree;
    Links first;
    walk(u, "", tree, first);
    return tree;
}

VisibleTree visible_tree(const std::string& directory) {
    namespace fs = std::filesystem;
    std::vector<std::string> paths;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
        paths.push_back(entry.path().string().substr(directory.size() + 1));
    }
    std::ranges::sort(paths, {}, [](const std::string& path) { return fs::path(path); });
    VisibleTree tree;
    Links first;
    for (const std::string& path : paths) {
        const std::string host = directory + '/' + path;
        const struct stat status = host_stat(host);
        std::string& text = tree[path];
        text = text_of(path, status.st_mode, status.st_nlink, status.st_ino, first);
        if (S_ISREG(status.st_mode)) text += " \"" + host_read(host) + '"';
        if (S_ISLNK(status.st_mode)) text += " -> " + fs::read_symlink(host).string();
        const UniqueFd object = sys::open_host_path(host, O_PATH | O_NOFOLLOW).value();
        auto xattrs = sys::xattr_names(object.get()).value();
        std::ranges::sort(xattrs);
        for (const std::string& one : xattrs) {
            const auto value = sys::xattr_value(object.get(), one.c_str()).value();
            text += ' ' + one + '=' +
                    std::string(reinterpret_cast<const char*>(value.data()), value.size());
        }
    }
    return tree;
}

std::string difference(const VisibleTree& expected, const VisibleTree& found) {
    std::string text;
    for (const auto& [path, what] : expected) {
        const auto it = found.find(path);
        if (it != found.end() && it->second == what) continue;
        text += "- " + path + ": " + what + "\n+ " + path + ": " +
                (it == found.end() ? "(missing)" : it->second) + '\n';
    }
    for (const auto& [path, what] : found) {
        if (!expected.contains(path)) text += "+ " + path + ": " + what + '\n';
    }
    return text;
}

}  // namespace plyfs::test
