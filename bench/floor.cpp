// SPDX-License-Identifier: GPL-2.0-or-later
//
// plyfs_floor [-v SECONDS] [-b DIRECTORY] FILES MOUNTPOINT
//
// A FUSE server that does nothing: what a workload takes on it is what round trips cost here, less
// than which no file system behind /dev/fuse can take. It serves, from no more than arithmetic,
//
//     set/f0, set/f1, ...     FILES files of 4 KiB
//     data/j0                 of 64 MiB
//     data/j1 ... data/j8     of 8 MiB each
//
// which read as zeros; what is written is dropped. With -b, opened files are passed through to
// DIRECTORY/set/f0 (all of set/) and to the files of DIRECTORY/data, each registered once.
// -v: for how long the kernel may keep names and attributes (1 second; 0 means not at all).
// Stays in the foreground until it is unmounted.
#include <fcntl.h>
#include <fmt/format.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sys/unique_fd.h"

namespace plyfs::bench {
namespace {

constexpr std::size_t kDataFiles = 9;
constexpr off_t kMebi = off_t{1} << 20;

struct Directory {
    std::string_view name;
    char prefix;
    std::size_t files;
};

struct Backing {
    UniqueFd file;
    int id = 0;  // 0: not registered yet
};

// Constant once the session runs, except what `registering` guards.
struct Server {
    double validity = 1;
    std::array<Directory, 2> directories{{{"set", 'f', 0}, {"data", 'j', kDataFiles}}};
    std::vector<char> zeros = std::vector<char>(std::size_t{1} << 20);
    std::string backing_directory;  // empty: nothing is passed through
    std::mutex registering;
    std::array<Backing, 1 + kDataFiles> backings;  // of set/, then of each file of data/
};

Server& server() {
    static Server instance;
    return instance;
}

// Node numbers: 1 is the root, 2 and 3 are the directories; a file has its directory's number in
// the upper half and its own, counted from 1, in the lower.
constexpr fuse_ino_t kFirstDirectory = 2;

std::optional<std::size_t> directory_of(fuse_ino_t node) {
    const fuse_ino_t number = node >> 32 == 0 ? node : node >> 32;
    if (number < kFirstDirectory || number > kFirstDirectory + 1) return {};
    return number - kFirstDirectory;
}

bool is_file(fuse_ino_t node) {
    return node >> 32 != 0;
}

std::size_t file_number(fuse_ino_t node) {
    return (node & 0xffffffff) - 1;
}

fuse_ino_t file_node(std::size_t directory, std::size_t number) {
    return (kFirstDirectory + directory) << 32 | (number + 1);
}

off_t size_of(fuse_ino_t node) {
    if (directory_of(node) == 0) return 4096;
    return file_number(node) == 0 ? 64 * kMebi : 8 * kMebi;
}

struct stat status_of(fuse_ino_t node) {
    struct stat status{};
    status.st_ino = node;
    status.st_mode = is_file(node) ? S_IFREG | 0644 : S_IFDIR | 0755;
    status.st_nlink = is_file(node) ? 1 : 2;
    if (is_file(node)) status.st_size = size_of(node);
    status.st_blksize = 4096;
    status.st_blocks = status.st_size / 512;
    return status;
}

fuse_entry_param entry_of(fuse_ino_t node) {
    fuse_entry_param entry{};
    entry.ino = node;
    entry.attr = status_of(node);
    entry.attr_timeout = server().validity;
    entry.entry_timeout = server().validity;
    return entry;
}

// 0: there is no such name.
fuse_ino_t find(fuse_ino_t parent, std::string_view name) {
    const auto& directories = server().directories;
    if (parent == FUSE_ROOT_ID) {
        const auto* const found = std::ranges::find(directories, name, &Directory::name);
        if (found == directories.end()) return 0;
        return kFirstDirectory + static_cast<fuse_ino_t>(found - directories.begin());
    }
    const auto directory = directory_of(parent);
    if (!directory || name.size() < 2 || name[0] != directories[*directory].prefix) return 0;
    std::size_t number = 0;
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + 1, end, number);
    if (error != std::errc{} || stop != end) return 0;
    return number < directories[*directory].files ? file_node(*directory, number) : 0;
}

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    const fuse_ino_t node = find(parent, name);
    if (node == 0) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    const fuse_entry_param entry = entry_of(node);
    fuse_reply_entry(request, &entry);
}

void getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*file*/) {
    const struct stat status = status_of(node);
    fuse_reply_attr(request, &status, server().validity);
}

// The times and sizes that are set are forgotten at once.
void setattr(fuse_req_t request, fuse_ino_t node, struct stat* /*wanted*/, int /*which*/,
             fuse_file_info* file) {
    getattr(request, node, file);
}

// 0: the kernel refused, or nothing is to be passed through.
int backing_of(fuse_req_t request, fuse_ino_t node) {
    Server& self = server();
    if (self.backing_directory.empty()) return 0;
    const bool data = directory_of(node) == 1;
    Backing& backing = self.backings[data ? 1 + file_number(node) : 0];
    const std::scoped_lock lock(self.registering);
    if (backing.id == 0) {
        backing.id = std::max(0, fuse_passthrough_open(request, backing.file.get()));
    }
    return backing.id;
}

void open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
    file->noflush = 1;
    file->backing_id = backing_of(request, node);
    file->keep_cache = file->backing_id == 0 ? 1 : 0;
    if (!server().backing_directory.empty() && file->backing_id == 0) {
        fuse_reply_err(request, EIO);  // rather no figure than one of something else
        return;
    }
    fuse_reply_open(request, file);
}

void read(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
          fuse_file_info* /*file*/) {
    const auto& zeros = server().zeros;
    const auto left = static_cast<std::size_t>(std::max<off_t>(size_of(node) - offset, 0));
    fuse_reply_buf(request, zeros.data(), std::min({size, left, zeros.size()}));
}

void write(fuse_req_t request, fuse_ino_t /*node*/, const char* /*bytes*/, std::size_t size,
           off_t /*offset*/, fuse_file_info* /*file*/) {
    fuse_reply_write(request, size);
}

void release(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* /*file*/) {
    fuse_reply_err(request, 0);
}

void fsync(fuse_req_t request, fuse_ino_t /*node*/, int /*data*/, fuse_file_info* /*file*/) {
    fuse_reply_err(request, 0);
}

void opendir(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* file) {
    fuse_reply_open(request, file);
}

struct Name {
    std::string text;
    fuse_ino_t node;
};

// What is at a place of a directory's list; an empty name behind its end.
Name name_at(fuse_ino_t node, std::size_t place) {
    if (place == 0) return {".", node};
    if (place == 1) return {"..", FUSE_ROOT_ID};
    place -= 2;
    const auto& directories = server().directories;
    if (node == FUSE_ROOT_ID) {
        if (place >= directories.size()) return {};
        return {std::string(directories[place].name), kFirstDirectory + place};
    }
    const auto directory = directory_of(node);
    if (!directory || place >= directories[*directory].files) return {};
    return {fmt::format("{}{}", directories[*directory].prefix, place),
            file_node(*directory, place)};
}

void list(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset, bool attributes) {
    std::vector<char> buffer(size);
    std::size_t used = 0;
    for (auto place = static_cast<std::size_t>(offset);; ++place) {
        const Name name = name_at(node, place);
        if (name.text.empty()) break;
        fuse_entry_param entry = entry_of(name.node);
        // The kernel takes no node along with these two.
        if (place < 2) entry.ino = 0;
        const auto next = static_cast<off_t>(place + 1);
        char* const at = buffer.data() + used;
        const std::size_t room = size - used;
        const std::size_t needed =
            attributes ? fuse_add_direntry_plus(request, at, room, name.text.c_str(), &entry, next)
                       : fuse_add_direntry(request, at, room, name.text.c_str(), &entry.attr, next);
        if (needed > room) break;
        used += needed;
    }
    fuse_reply_buf(request, buffer.data(), used);
}

void readdir(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
             fuse_file_info* /*file*/) {
    list(request, node, size, offset, false);
}

void readdirplus(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
                 fuse_file_info* /*file*/) {
    list(request, node, size, offset, true);
}

void init(void* /*user*/, fuse_conn_info* connection) {
    if (server().backing_directory.empty()) return;
    if (!fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH)) {
        fmt::print(stderr, "plyfs_floor: this kernel passes nothing through\n");
        std::exit(1);
    }
    connection->max_backing_stack_depth = 1;
}

fuse_lowlevel_ops operations() {
    fuse_lowlevel_ops table{};
    table.init = init;
    table.lookup = lookup;
    table.getattr = getattr;
    table.setattr = setattr;
    table.open = open;
    table.read = read;
    table.write = write;
    table.release = release;
    table.fsync = fsync;
    table.opendir = opendir;
    table.readdir = readdir;
    table.readdirplus = readdirplus;
    return table;
}

void open_backings() {
    Server& self = server();
    if (self.backing_directory.empty()) return;
    for (std::size_t i = 0; i < self.backings.size(); ++i) {
        const std::string path = i == 0 ? self.backing_directory + "/set/f0"
                                        : fmt::format("{}/data/j{}", self.backing_directory, i - 1);
        self.backings[i].file.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        if (!self.backings[i].file) {
            fmt::print(stderr, "plyfs_floor: {} can't be opened\n", path);
            std::exit(1);
        }
    }
}

int serve(const char* mountpoint) {
    std::string name = "plyfs_floor";
    std::string option = "-o";
    std::string options = "default_permissions,allow_other,fsname=plyfs_floor,subtype=plyfs_floor";
    std::array<char*, 3> words{name.data(), option.data(), options.data()};
    fuse_args arguments = FUSE_ARGS_INIT(static_cast<int>(words.size()), words.data());
    const fuse_lowlevel_ops table = operations();
    fuse_session* const session = fuse_session_new(&arguments, &table, sizeof(table), nullptr);
    fuse_opt_free_args(&arguments);
    if (session == nullptr || fuse_session_mount(session, mountpoint) != 0) return 1;
    fuse_loop_config* const config = fuse_loop_cfg_create();
    const int status = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return status == 0 ? 0 : 1;
}

[[noreturn]] void usage() {
    fmt::print(stderr, "usage: plyfs_floor [-v SECONDS] [-b DIRECTORY] FILES MOUNTPOINT\n");
    std::exit(2);
}

}  // namespace
}  // namespace plyfs::bench

int main(int count, char** words) {
    using namespace plyfs::bench;
    for (int option = 0; (option = ::getopt(count, words, "v:b:")) != -1;) {
        if (option == 'v') {
            server().validity = std::strtod(optarg, nullptr);
        } else if (option == 'b') {
            server().backing_directory = optarg;
        } else {
            usage();
        }
    }
    if (count - optind != 2) usage();
    server().directories[0].files = std::strtoul(words[optind], nullptr, 10);
    open_backings();
    return serve(words[optind + 1]);
}
