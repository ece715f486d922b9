// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why plyfs reaches read-only branches through a read-only clone of their mount: a server that by
// mistake answers a writable open with the backing of a lower file. Not plyfs, which never does,
// but a server of this test's own.
#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 317
#endif

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <memory>
#include <string>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/process.h"
#include "mount/sandbox.h"
#include "sys/mount_clone.h"
#include "sys/open.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

// One directory with one file, `file`, whose every open is passed through by `backing`.
struct Careless {
    int backing = -1;
    int ready = -1;  // written to once the mount answers
};

constexpr fuse_ino_t kFile = 2;

struct stat attributes_of(fuse_ino_t node) {
    struct stat result{};
    result.st_ino = node;
    result.st_mode = node == kFile ? S_IFREG | 0666 : S_IFDIR | 0777;
    result.st_nlink = 1;
    result.st_size = 5;
    return result;
}

void init(void* user_data, fuse_conn_info* connection) {
    fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH);
    connection->max_backing_stack_depth = 0;
    const char byte = 0;
    if (::write(static_cast<Careless*>(user_data)->ready, &byte, 1) != 1) ::_exit(1);
}

void lookup(fuse_req_t request, fuse_ino_t /*parent*/, const char* name) {
    if (std::string(name) != "file") {
        fuse_reply_err(request, ENOENT);
        return;
    }
    fuse_entry_param entry{};
    entry.ino = kFile;
    entry.attr = attributes_of(kFile);
    fuse_reply_entry(request, &entry);
}

void getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*info*/) {
    const struct stat attributes = attributes_of(node);
    fuse_reply_attr(request, &attributes, 0);
}

void open(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* info) {
    const auto& careless = *static_cast<Careless*>(fuse_req_userdata(request));
    info->backing_id = fuse_passthrough_open(request, careless.backing);
    fuse_reply_open(request, info);
}

int serve(const std::string& mountpoint, Careless careless) {
    fuse_lowlevel_ops table{};
    table.init = &init;
    table.lookup = &lookup;
    table.getattr = &getattr;
    table.open = &open;
    std::array<char*, 1> words{const_cast<char*>("careless")};
    fuse_args arguments = FUSE_ARGS_INIT(1, words.data());
    fuse_session* const session = fuse_session_new(&arguments, &table, sizeof table, &careless);
    if (session == nullptr || fuse_session_mount(session, mountpoint.c_str()) != 0) return 1;
    fuse_session_loop(session);
    return 0;  // the kernel takes the rest back
}

// The mount of such a server, as long as it lives.
class CarelessMount {
public:
    explicit CarelessMount(int backing) : path_(make_scratch_directory()) {
        require_sandbox();
        std::array<int, 2> pipe{};
        REQUIRE(outcome(::pipe2(pipe.data(), O_CLOEXEC)) == kOk);
        const UniqueFd ready(pipe[0]);
        UniqueFd told(pipe[1]);
        process_ = std::make_unique<Process>(
            [&] { return serve(path_, {.backing = backing, .ready = told.get()}); });
        told.reset();
        char byte = 0;
        REQUIRE(::read(ready.get(), &byte, 1) == 1);
        connection_ = find_mount(path_).minor;
        watch_connection(connection_);
    }
    CarelessMount(const CarelessMount&) = delete;
    CarelessMount& operator=(const CarelessMount&) = delete;
    ~CarelessMount() {
        CHECK(outcome(::umount2(path_.c_str(), MNT_DETACH)) == kOk);
        unwatch_connection(connection_);
        CHECK(process_->wait() == 0);
    }
    std::string file() const { return path_ + "/file"; }

private:
    std::string path_;
    std::unique_ptr<Process> process_;
    unsigned connection_ = 0;
};

}  // namespace

TEST_CASE("the clone of a read-only branch refuses a writable open by its backing",
          "[passthrough][security]") {
    const Branches branches{Ext4};
    put(branches.path(0, "lower"), "lower");
    SECTION("through the clone") {
        const UniqueFd branch = open_file(branches[0], O_PATH | O_DIRECTORY);
        const auto clone = sys::clone_mount(branch.get(), {.read_only = true});
        REQUIRE(clone);
        const auto lower = sys::open_at(clone->get(), Name::from("lower").value(), O_RDONLY);
        REQUIRE(lower);
        const struct stat before = status(branches.path(0, "lower"));
        const CarelessMount mount(lower->get());
        CHECK(content(mount.file()) == "lower");
        for (const int flags : {O_WRONLY, O_RDWR, O_RDWR | O_APPEND, O_WRONLY | O_DIRECT}) {
            CHECK(try_open(mount.file(), flags) == EIO);
        }
        CHECK(content(branches.path(0, "lower")) == "lower");
        const struct stat after = status(branches.path(0, "lower"));
        CHECK(nanoseconds(after.st_ctim) == nanoseconds(before.st_ctim));
    }
    SECTION("without one nothing does") {
        const UniqueFd lower = open_file(branches.path(0, "lower"), O_RDONLY);
        const CarelessMount mount(lower.get());
        {
            const UniqueFd writer = open_file(mount.file(), O_WRONLY);
            REQUIRE(outcome(writer.get()) == kOk);
            CHECK(write_all(writer.get(), "upper") == kOk);
        }
        CHECK(content(branches.path(0, "lower")) == "upper");
    }
}

}  // namespace plyfs::test
