// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "config/configuration.h"
#include "config/place.h"
#include "config/units.h"

namespace plyfs::config {

namespace {

namespace fs = std::filesystem;

// What unions keep in a directory that is there for it: plyfs's own, and those of overlayfs.
constexpr std::string_view kWorkNames[] = {"plyfs", "work", "index", "lost+found"};

// A name in it that is none of these.
std::optional<std::string> foreign_name(const std::string& work_directory) {
    std::error_code error;
    for (fs::directory_iterator entry(work_directory, error), end; !error && entry != end;
         entry.increment(error)) {
        std::string name = entry->path().filename().string();
        if (std::ranges::find(kWorkNames, name) == std::end(kWorkNames)) return name;
    }
    return std::nullopt;
}

// The error of opening the directory for reading. Reads nothing, which would change the access time
// of a branch that is to stay as it is.
std::error_code try_to_open(const std::string& path) {
    DIR* const directory = opendir(path.c_str());
    if (directory == nullptr) return {errno, std::generic_category()};
    closedir(directory);
    return {};
}

// The same, and whether it holds no names.
std::error_code open_directory(const std::string& path, bool& empty) {
    std::error_code error;
    const fs::directory_iterator names(path, error);
    empty = names == fs::directory_iterator();
    return error;
}

class Validation {
public:
    Validation(Configuration& configuration, MountpointUse use)
        : configuration_(configuration), options_(configuration.options), use_(use),
          table_(read_mount_table()), places_(options_.branches.size()),
          works_(options_.branches.size()) {}

    ConfigErrors run() {
        check_branch_set();
        for (std::size_t i = 0; i < options_.branches.size(); ++i) check_branch(i);
        for (std::size_t i = 0; i < options_.branches.size(); ++i)
            for (std::size_t j = 0; j < i; ++j) check_pair(i, j);
        for (std::size_t i = 0; i < options_.branches.size(); ++i) check_work(i);
        if (!options_.mountpoint.empty()) check_mountpoint();
        check_combinations();
        return std::move(errors_);
    }

private:
    // Where a key was given; its name alone if it has its default.
    Location origin(const std::string& key) const {
        const auto found = configuration_.origins.find(key);
        if (found != configuration_.origins.end()) return found->second;
        return {"", "", 0, 0, key};
    }

    void complain(const Location& where, std::string reason, std::string hint) {
        errors_.push_back({where, std::move(reason), std::move(hint)});
    }
    void warn(const Location& where, const std::string& reason) {
        configuration_.warnings.push_back(warning_text(where, reason));
    }

    void check_branch_set() {
        if (options_.branches.empty()) {
            complain(origin("branches"), "there is no branch", "give at least one directory");
            return;
        }
        const bool writable =
            std::ranges::any_of(options_.branches, [](const BranchOptions& branch) {
                return branch.mode == BranchMode::ReadWrite;
            });
        if (!writable && !options_.read_only)
            complain(origin("branches"), "no branch is writable",
                     "give one the mode RW, or mount with ro");
    }

    void check_branch(std::size_t i) {
        const BranchOptions& branch = options_.branches[i];
        const Location& where = configuration_.branch_origins[i];
        Place place;
        std::error_code error = find_place(branch.path, table_, place);
        if (!error && place.directory) error = try_to_open(branch.path);
        if (error) {
            complain(where, fmt::format("{}: {}", branch.path, error.message()),
                     error == std::errc::permission_denied ? "it must be readable" : "");
        } else if (!place.directory) {
            complain(where, branch.path + ": not a directory", "");
        } else {
            if (branch.readers && branch.mode != BranchMode::ReadOnly)
                warn(where, branch.path + ": `readers` has no effect on a writable branch");
            check_space(branch, place, where);
            places_[i] = place;
        }
    }

    void check_space(const BranchOptions& branch, const Place& place, const Location& where) {
        if (branch.mode != BranchMode::ReadWrite || options_.read_only) return;
        if (place.read_only)
            warn(where, branch.path + ": is mounted read-only; nothing can be created there");
        const std::uint64_t reserve = branch.min_free_space.value_or(options_.min_free_space);
        if (place.capacity != 0 && reserve > place.capacity)
            warn(where, fmt::format("{}: nothing will be created there: min_free_space {} is more "
                                    "than the whole file system",
                                    branch.path, format_size(reserve)));
    }

    void check_pair(std::size_t i, std::size_t j) {
        if (!places_[i] || !places_[j]) return;
        const std::string& path = options_.branches[i].path;
        const std::string& other = options_.branches[j].path;
        const Location& where = configuration_.branch_origins[i];
        if (is_same(*places_[i], *places_[j]))
            complain(where,
                     path == other ? fmt::format("{} is given twice", path)
                                   : fmt::format("{} is the same directory as {}", path, other),
                     "keep one of them");
        else if (is_below(*places_[i], *places_[j]))
            complain(where, fmt::format("{} is inside the branch {}", path, other),
                     "a branch must not be part of another");
        else if (is_below(*places_[j], *places_[i]))
            complain(where, fmt::format("the branch {} is inside {}", other, path),
                     "a branch must not be part of another");
    }

    void check_work(std::size_t i) {
        const BranchOptions& branch = options_.branches[i];
        if (!branch.work_directory || !places_[i]) return;
        const std::string label = "the work directory " + *branch.work_directory;
        const auto complain_of = [&](std::string_view reason, std::string hint) {
            complain(configuration_.branch_origins[i], fmt::format("{} {}", label, reason),
                     std::move(hint));
        };
        Place place;
        std::error_code error = find_place(*branch.work_directory, table_, place);
        if (!error && !place.directory) error = std::make_error_code(std::errc::not_a_directory);
        if (error) {
            complain(configuration_.branch_origins[i],
                     fmt::format("{}: {}", label, error.message()), "");
        } else if (branch.mode == BranchMode::ReadOnly) {
            complain_of("has no use", "a read-only branch needs none");
        } else if (place.device != places_[i]->device || place.mount != places_[i]->mount) {
            complain_of("and " + branch.path + " are not on one mount of one file system",
                        "what is made in the one is renamed into the other");
        } else if (const auto name = foreign_name(*branch.work_directory)) {
            complain_of("holds `" + *name + "`", "give an empty directory, or the one used before");
        } else {
            check_work_and_branches(place, configuration_.branch_origins[i]);
            works_[i] = std::move(place);
        }
    }

    void check_work_and_branches(const Place& work, const Location& where) {
        for (const auto& other : works_)
            if (other && is_same(work, *other))
                complain(where, fmt::format("the work directory {} is given twice", work.path),
                         "each branch needs its own");
        for (const auto& branch : places_) {
            if (!branch) continue;
            if (is_same(work, *branch))
                complain(where, fmt::format("the work directory {} is itself a branch", work.path),
                         "give another directory");
            else if (is_below(work, *branch))
                complain(where,
                         fmt::format("the work directory {} is inside the branch {}", work.path,
                                     branch->path),
                         "give one beside it");
            else if (is_below(*branch, work))
                complain(where,
                         fmt::format("the branch {} is inside the work directory {}", branch->path,
                                     work.path),
                         "give one beside it");
        }
    }

    void check_mountpoint() {
        const Location where = origin("mountpoint");
        const std::string& path = options_.mountpoint;
        Place place;
        bool empty = true;
        std::error_code error = find_place(path, table_, place);
        if (!error && !place.directory) error = std::make_error_code(std::errc::not_a_directory);
        if (!error) error = open_directory(path, empty);
        if (error) {
            complain(where, fmt::format("{}: {}", path, error.message()), mountpoint_hint(error));
            return;
        }
        if (use_ == MountpointUse::Free && !options_.nonempty) {
            if (carries_plyfs(path))
                complain(where, path + ": a plyfs is mounted there already",
                         "unmount it with `plyfs umount`");
            else if (!empty)
                complain(where, path + ": not an empty directory",
                         "nonempty mounts over what is there");
        }
        // While the mount is up, its own root stands at the mountpoint.
        if (!carries_plyfs(path)) check_mountpoint_and_branches(place, where);
    }

    std::string mountpoint_hint(std::error_code error) const {
        if (error == std::errc::no_such_file_or_directory) return "create it";
        if (error == std::errc::not_connected)
            return "the daemon of a mount there has died: `plyfs umount` removes it";
        return "";
    }

    bool carries_plyfs(const std::string& path) const {
        return std::ranges::any_of(table_, [&](const MountedFileSystem& mounted) {
            return mounted.mountpoint == path && is_plyfs(mounted);
        });
    }

    void check_mountpoint_and_branches(const Place& mountpoint, const Location& where) {
        for (const auto& work : works_)
            if (work && (is_same(mountpoint, *work) || is_below(mountpoint, *work) ||
                         is_below(*work, mountpoint)))
                complain(where,
                         fmt::format("{} and the work directory {} overlap", mountpoint.path,
                                     work->path),
                         "mount elsewhere");
        for (const auto& branch : places_) {
            if (!branch) continue;
            if (is_same(mountpoint, *branch))
                complain(where, mountpoint.path + ": is itself a branch",
                         "mount on another directory");
            else if (is_below(mountpoint, *branch))
                complain(where,
                         fmt::format("{} is inside the branch {}", mountpoint.path, branch->path),
                         "mount outside of the branches");
            else if (is_below(*branch, mountpoint))
                complain(where,
                         fmt::format("the branch {} is inside {}", branch->path, mountpoint.path),
                         "mounting would hide it: mount elsewhere");
        }
    }

    void check_combinations() {
        if (options_.posix_acl && !options_.xattrs)
            complain(origin("posix_acl"), "ACLs are extended attributes, and those are off",
                     "turn `xattrs` on or `posix_acl` off");
        if (options_.passthrough.mode == PassthroughMode::Off &&
            options_.passthrough.max_stack_depth != 0)
            warn(origin("passthrough.max_stack_depth"), "has no effect without passthrough");
        if (options_.subtype.empty() ||
            options_.subtype.find_first_of(",/ \t\n\\") != std::string::npos)
            complain(origin("mount.subtype"), "is not the name of a file system type",
                     "letters, digits, `-`, `_` and `.`");
        const std::string& target = options_.logging.target;
        if (target.starts_with('/') && !options_.mountpoint.empty() &&
            fs::path(target).lexically_normal().string().starts_with(options_.mountpoint + '/'))
            complain(origin("logging.target"), target + ": is inside the mountpoint",
                     "plyfs would wait for itself: log elsewhere");
    }

    Configuration& configuration_;
    const Options& options_;
    MountpointUse use_;
    std::vector<MountedFileSystem> table_;
    std::vector<std::optional<Place>> places_;  // empty where the branch is not usable
    std::vector<std::optional<Place>> works_;   // empty where it has none apart
    ConfigErrors errors_;
};

}  // namespace

ConfigErrors validate(Configuration& configuration, MountpointUse use) {
    return Validation(configuration, use).run();
}

}  // namespace plyfs::config
