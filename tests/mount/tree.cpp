// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <sstream>
#include <utility>

#include "mount/files.h"

namespace plyfs::test {
namespace {

// Times before this one were set, later ones are those of operations.
constexpr time_t kTests = 1'700'000'000;

constexpr std::size_t kLongestShown = 100;

class Walk {
public:
    Walk(std::string root, Detail detail) : root_(std::move(root)), detail_(detail) {}

    Tree run() {
        visit("");
        return std::move(tree_);
    }

private:
    using Key = std::pair<dev_t, ino_t>;

    void visit(const std::string& path) {
        const std::string host = root_ + "/" + path;
        struct stat found{};
        if (::lstat(host.c_str(), &found) != 0) {
            tree_[path] = "lstat: " + std::string(::strerrorname_np(errno));
            return;
        }
        std::ostringstream text;
        text << std::oct << found.st_mode << std::dec << ' ' << found.st_uid << ':' << found.st_gid;
        if (S_ISCHR(found.st_mode) || S_ISBLK(found.st_mode)) text << " device " << found.st_rdev;
        if (detail_ == Detail::Everything) {
            text << " inode " << found.st_ino << " links " << found.st_nlink << " size "
                 << found.st_size;
            for (const timespec& time : {found.st_atim, found.st_mtim, found.st_ctim})
                text << ' ' << nanoseconds(time);
        } else {
            if (found.st_mtim.tv_sec < kTests && !path.empty())
                text << " time " << nanoseconds(found.st_mtim);
            if (!S_ISDIR(found.st_mode)) describe_links(path, found, text);
        }
        for (const std::string& name : xattr_names(host))
            text << ' ' << name << '=' << get_xattr(host, name.c_str());
        // Reading a link changes its access time.
        if (S_ISLNK(found.st_mode) && detail_ == Detail::Shown)
            text << " -> " << std::filesystem::read_symlink(host).string();
        if (S_ISREG(found.st_mode)) {
            const UniqueFd file = open_file(host, O_RDONLY | O_NOATIME);
            INFO(host);
            REQUIRE(outcome(file.get()) == kOk);
            const std::string data = content(file.get());
            if (data.size() > kLongestShown) {
                text << " data " << std::hash<std::string>{}(data);
            } else {
                text << " \"" << data << '"';
            }
            if (std::cmp_not_equal(data.size(), found.st_size)) text << " (of another size)";
        }
        tree_[path] = text.str();
        if (S_ISDIR(found.st_mode)) descend(path, host);
    }

    void describe_links(const std::string& path, const struct stat& found, std::ostream& text) {
        text << " links " << found.st_nlink << " size " << found.st_size;
        const auto [first, added] = first_.emplace(Key{found.st_dev, found.st_ino}, path);
        if (!added) text << " is " << first->second;
    }

    void descend(const std::string& path, const std::string& host) {
        const int descriptor = ::open(host.c_str(), O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC);
        INFO(host);
        REQUIRE(outcome(descriptor) == kOk);
        const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(descriptor), ::closedir);
        std::map<std::string, unsigned char> listed;
        while (const dirent* entry = ::readdir(stream.get())) {
            const std::string name = entry->d_name;
            if (name == "." || name == "..") continue;
            const bool first = listed.emplace(name, entry->d_type).second;
            REQUIRE(first);
        }
        for (const auto& [name, type] : listed) {
            const std::string below = path.empty() ? name : path + "/" + name;
            visit(below);
            struct stat found{};
            if (::lstat((root_ + "/" + below).c_str(), &found) == 0 && type != DT_UNKNOWN &&
                type != IFTODT(found.st_mode))
                tree_[below] += " (listed as " + std::to_string(type) + ")";
        }
    }

    const std::string root_;
    const Detail detail_;
    std::map<Key, std::string> first_;
    Tree tree_;
};

}  // namespace

Tree tree_of(const std::string& root, Detail detail) {
    return Walk(root, detail).run();
}

std::string difference(const Tree& expected, const Tree& found) {
    std::string text;
    for (const auto& [path, what] : expected) {
        const auto other = found.find(path);
        if (other != found.end() && other->second == what) continue;
        text += "- " + path + ": " + what + "\n+ " + path + ": " +
                (other == found.end() ? "(missing)" : other->second) + '\n';
    }
    for (const auto& [path, what] : found)
        if (!expected.contains(path)) text += "+ " + path + ": " + what + '\n';
    return text;
}

}  // namespace plyfs::test
