// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount/random_operation.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include "mount/files.h"

namespace plyfs::test {
namespace {

using Kind = Operation::Kind;

constexpr std::size_t kMostHeld = 3;

std::string name_of(Outcome outcome) {
    return Catch::StringMaker<Outcome>::convert(outcome);
}

std::string draw_path(std::mt19937_64& random) {
    static constexpr std::array kNames{"a", "b", "c"};
    std::string path = kNames[random() % kNames.size()];
    for (std::uint64_t depth = random() % 3; depth > 0; --depth)
        path.append("/").append(kNames[random() % kNames.size()]);
    return path;
}

template <typename T, std::size_t kCount>
T choose(const std::array<T, kCount>& from, std::uint64_t choice) {
    return from[choice % kCount];
}

// Names that an application may give: that of a mark too.
const char* xattr_of(std::uint64_t choice) {
    static constexpr std::array kNames{"user.one", "user.two", "trusted.one",
                                       "trusted.overlay.opaque"};
    return choose(kNames, choice / 8);
}

// ACLs of a directory that give its group, or its children a mask.
std::string acl_of(std::uint64_t choice) {
    std::string acl("\2\0\0\0", 4);
    const auto add = [&](char tag, char rights, std::string_view id) {
        acl.append({tag, '\0', rights, '\0'}).append(id);
    };
    constexpr std::string_view kNobody("\xff\xff\xff\xff");
    add(1, 7, kNobody);
    add(2, static_cast<char>(choice / 8 % 8), std::string_view("\x21\x4e\0\0", 4));
    add(4, 5, kNobody);
    add(16, 7, kNobody);
    add(32, static_cast<char>(choice / 64 % 2 * 5), kNobody);
    return acl;
}

// Opening these means more than the file system is asked for.
bool opens_as_file(const std::string& path) {
    struct stat found{};
    return ::stat(path.c_str(), &found) != 0 || S_ISREG(found.st_mode) || S_ISDIR(found.st_mode);
}

std::string open_and_write(const std::string& path, std::uint64_t choice) {
    static constexpr std::array kFlags{
        O_CREAT | O_EXCL, O_CREAT | O_EXCL,   O_CREAT, O_CREAT | O_TRUNC, O_TRUNC,
        O_APPEND,         O_CREAT | O_APPEND, 0,
    };
    static constexpr std::array<mode_t, 4> kModes{0644, 0600, 0755, 0666};
    if (!opens_as_file(path)) return "not opened";
    const UniqueFd file =
        open_file(path, O_WRONLY | choose(kFlags, choice), choose(kModes, choice / 8));
    if (!file) return name_of(errno);
    return name_of(write_all(file.get(), "written " + std::to_string(choice % 1000)));
}

std::string list(const std::string& path) {
    struct stat found{};
    if (::stat(path.c_str(), &found) != 0) return name_of(errno);
    if (!S_ISDIR(found.st_mode)) return "not listed";
    std::string text;
    for (const std::string& name : names(path)) text += name + ' ';
    return text;
}

std::string read(const std::string& path) {
    if (!opens_as_file(path)) return "not opened";
    const UniqueFd file = open_file(path, O_RDONLY);
    if (!file) return name_of(errno);
    std::string text(4096, '\0');
    const ssize_t got = ::read(file.get(), text.data(), text.size());
    if (got < 0) return name_of(errno);
    return text.substr(0, static_cast<std::size_t>(got));
}

Outcome make_node(const std::string& path, std::uint64_t choice) {
    switch (choice % 8) {
        case 0: return outcome(::mknod(path.c_str(), S_IFSOCK | 0600, 0));
        case 1: return outcome(::mknod(path.c_str(), S_IFCHR | 0640, makedev(1, 3)));
        case 2: return outcome(::mknod(path.c_str(), S_IFBLK | 0600, makedev(7, 250)));
        case 3: return outcome(::mknod(path.c_str(), S_IFCHR | 0600, makedev(0, 0)));
        case 4: return outcome(::mknod(path.c_str(), S_IFREG | 0600, 0));
        default: return outcome(::mknod(path.c_str(), S_IFIFO | 0666, 0));
    }
}

Outcome set_attribute(const std::string& path, std::uint64_t choice) {
    static constexpr std::array<int, 4> kFlags{0, 0, XATTR_CREATE, XATTR_REPLACE};
    if (choice % 8 == 7) {
        const char* const name =
            choice % 16 == 7 ? "system.posix_acl_default" : "system.posix_acl_access";
        return set_xattr(path, name, acl_of(choice));
    }
    return set_xattr(path, xattr_of(choice), "value " + std::to_string(choice % 100),
                     choose(kFlags, choice / 64));
}

Outcome set_chosen_times(const std::string& path, std::uint64_t choice) {
    const auto seconds = static_cast<time_t>(1'000'000'000 + choice % 1'000'000);
    const auto fraction = static_cast<long>(choice / 8 % 1'000'000'000);
    const std::array<timespec, 2> times{timespec{seconds, 1}, timespec{seconds, fraction}};
    return outcome(::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW));
}

Outcome change_owner(const std::string& path, std::uint64_t choice) {
    static constexpr std::array<uid_t, 3> kOwners{0, 1000, static_cast<uid_t>(-1)};
    return outcome(::lchown(path.c_str(), choose(kOwners, choice), choose(kOwners, choice / 4)));
}

// Where it fails, ext4 may have changed the time of the directory nevertheless (RENAME_WHITEOUT
// onto a directory with names): it gets one that the others have too.
void even_out(const std::string& path) {
    const std::array<timespec, 2> times{timespec{1'100'000'000, 0}, timespec{1'100'000'000, 0}};
    (void)::utimensat(AT_FDCWD, path.substr(0, path.rfind('/')).c_str(), times.data(), 0);
}

Outcome rename_one(const std::string& path, const std::string& other, std::uint64_t choice) {
    static constexpr std::array<unsigned, 6> kFlags{
        0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_EXCHANGE};
    const Outcome done = outcome(
        ::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, other.c_str(), choose(kFlags, choice)));
    if (done == ENOTEMPTY) even_out(path);
    return done;
}

constexpr std::array<mode_t, 5> kModes{0644, 0700, 01777, 0444, 0770};
constexpr std::array<mode_t, 4> kDirectoryModes{0755, 0700, 01777, 02775};

}  // namespace

Operation draw_operation(std::mt19937_64& random) {
    using enum Operation::Kind;
    static constexpr std::array kKinds{
        Open,     Open,      Open,        Open,         Truncate, Chmod,   Chown,  SetTimes,
        SetXattr, SetXattr,  RemoveXattr, Link,         Link,     Symlink, Mknod,  Mkdir,
        Mkdir,    Mkdir,     Mkdir,       Rmdir,        Rmdir,    Unlink,  Unlink, Unlink,
        Rename,   Rename,    Rename,      Rename,       Rename,   Rename,  List,   Read,
        Hold,     WriteHeld, WriteHeld,   TruncateHeld, Release};
    const Operation::Kind kind = kKinds[random() % kKinds.size()];
    std::string path = draw_path(random);
    std::string other = draw_path(random);
    return {kind, std::move(path), std::move(other), random() >> 16};
}

std::string describe(const Operation& operation) {
    static constexpr std::array kNames{"open",     "truncate",    "chmod",  "chown",     "utimens",
                                       "setxattr", "removexattr", "link",   "symlink",   "mknod",
                                       "mkdir",    "rmdir",       "unlink", "rename",    "list",
                                       "read",     "hold",        "write",  "ftruncate", "close"};
    return kNames[static_cast<std::size_t>(operation.kind)] + (' ' + operation.path) + ' ' +
           operation.other + ' ' + std::to_string(operation.choice);
}

std::string OperatedTree::carry_out(const Operation& operation) {
    const std::string path = at(operation.path);
    const std::string other = at(operation.other);
    const std::uint64_t choice = operation.choice;
    switch (operation.kind) {
        case Kind::Open: return open_and_write(path, choice);
        case Kind::Truncate:
            return name_of(outcome(::truncate(path.c_str(), static_cast<off_t>(choice % 16))));
        case Kind::Chmod: return name_of(outcome(::chmod(path.c_str(), choose(kModes, choice))));
        case Kind::Chown: return name_of(change_owner(path, choice));
        case Kind::SetTimes: return name_of(set_chosen_times(path, choice));
        case Kind::SetXattr: return name_of(set_attribute(path, choice));
        case Kind::RemoveXattr:
            return name_of(outcome(::lremovexattr(path.c_str(), xattr_of(choice))));
        case Kind::Link: return name_of(outcome(::link(path.c_str(), other.c_str())));
        case Kind::Symlink:
            return name_of(outcome(::symlink(operation.other.c_str(), path.c_str())));
        case Kind::Mknod: return name_of(make_node(path, choice));
        case Kind::Mkdir:
            return name_of(outcome(::mkdir(path.c_str(), choose(kDirectoryModes, choice))));
        case Kind::Rmdir: return name_of(outcome(::rmdir(path.c_str())));
        case Kind::Unlink: return name_of(outcome(::unlink(path.c_str())));
        case Kind::Rename: return name_of(rename_one(path, other, choice));
        case Kind::List: return list(path);
        case Kind::Read: return read(path);
        default: return carry_out_held(operation);
    }
}

std::string OperatedTree::carry_out_held(const Operation& operation) {
    if (operation.kind == Kind::Hold) {
        const std::string path = at(operation.path);
        if (held_.size() == kMostHeld) return "enough";
        if (!opens_as_file(path)) return "not opened";
        UniqueFd file = open_file(path, O_RDWR);
        if (!file) return name_of(errno);
        held_.push_back(std::move(file));
        return "held";
    }
    if (held_.empty()) return "none";
    const auto chosen = held_.begin() + static_cast<long>(operation.choice % held_.size());
    const int file = chosen->get();
    Outcome done;
    if (operation.kind == Kind::WriteHeld) {
        const std::string text = "held " + std::to_string(operation.choice % 1000);
        done = outcome(
            ::pwrite(file, text.data(), text.size(), static_cast<off_t>(operation.choice / 8 % 8)));
    } else if (operation.kind == Kind::TruncateHeld) {
        done = outcome(::ftruncate(file, static_cast<off_t>(operation.choice / 8 % 16)));
    }
    const struct stat found = status(file);
    std::string text =
        name_of(done) + " links " + std::to_string(found.st_nlink) + " \"" + content(file) + '"';
    if (operation.kind == Kind::Release) held_.erase(chosen);
    return text;
}

}  // namespace plyfs::test
