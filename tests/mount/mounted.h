// SPDX-License-Identifier: GPL-2.0-or-later
//
// A union mounted by the built program over branches of its own, and everything that has to be gone
// again when it is unmounted.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "mount/loop_file_system.h"
#include "mount/process.h"
#include "mount/restarter.h"

namespace plyfs::test {

// New directories on file systems of the given kinds, removed with their content at the end.
class Branches {
public:
    Branches(std::initializer_list<FileSystem> kinds);
    explicit Branches(const std::vector<FileSystem>& kinds);
    Branches(Branches&& other) noexcept = default;
    ~Branches();

    std::size_t size() const noexcept { return paths_.size(); }
    // The path of a branch, or of something in it.
    const std::string& operator[](std::size_t i) const { return paths_[i]; }
    std::string path(std::size_t i, std::string_view name) const;
    // As plyfs takes it. `modes` are of the branches in order, RW where there are fewer.
    std::string spec(std::initializer_list<const char*> modes = {}) const;
    // How many of the branches have `name`.
    std::size_t count(std::string_view name) const;

private:
    std::vector<std::string> paths_;
};

// What plyfs was asked to do, counted from its request log.
class RequestLog {
public:
    explicit RequestLog(std::string file) : file_(std::move(file)) {}
    // Requests whose opcode has one of the names: LOOKUP, READ ...
    std::size_t count(std::initializer_list<std::string_view> names) const;
    std::string text() const;

private:
    std::string file_;
};

class Mount {
public:
    enum class Style : std::uint8_t {
        Background,  // as mount(8) does it: the program returns when the mount answers
        Logging,     // -f -d: stays a child; requests are logged
    };

    // Mounts at a new directory. `options` follow -o; minfreespace=0 stands before them, because
    // file systems of tests are small. With PLYFS_TEST_RESTARTS in the environment the daemon is
    // restarted all the time (Style::Background).
    explicit Mount(const std::string& source, const std::string& options = "",
                   Style style = Style::Background, const std::string& program = PLYFS_BINARY);
    // Adopts what was mounted at `mountpoint` by other means, with its daemon.
    static Mount adopt(const std::string& mountpoint);
    Mount(const Mount&) = delete;
    Mount& operator=(const Mount&) = delete;
    Mount(Mount&& other) noexcept;
    // Unmounts, and checks that the daemon ends well.
    ~Mount();

    const std::string& path() const noexcept { return path_; }
    std::string path(std::string_view name) const;
    // It is not restarted any more where it was all the time.
    pid_t daemon() const;
    unsigned connection() const noexcept { return connection_; }
    RequestLog requests() const { return RequestLog(log_); }

    void unmount();
    // Has another process of the program go on, and checks that the daemon ends well.
    void restart();
    // Processes that went on without this object's knowing: daemon() is the last of them.
    void follow_daemon(const nlohmann::json& statistics);
    // What `plyfs restart` says.
    Ran try_restart() const;
    // The daemon has been told to end, or the mount was unmounted by other means: waits for it and
    // checks that it ended well.
    void expect_end();
    // Whoever calls this has unmounted, and waited for the daemon.
    void abandon();

private:
    Mount() = default;
    void mounted();
    void stop_restarting() const;

    std::string path_;
    std::string log_;
    std::string program_ = PLYFS_BINARY;
    mutable pid_t daemon_ = 0;
    unsigned connection_ = 0;
    mutable std::unique_ptr<Restarter> restarter_;
};
inline constexpr auto kLogging = Mount::Style::Logging;

// What `plyfs stats --json` would say.
nlohmann::json statistics(const Mount& mount);

// Whether something is mounted there, and the options of the mount and its type.
struct MountTableEntry {
    bool mounted = false;
    std::string options;  // per mount and of the file system, joined
    std::string source;
    std::string type;
    unsigned minor = 0;
    bool has(std::string_view option) const;
};
MountTableEntry find_mount(const std::string& mountpoint);

// How many children this process has: none but the daemons of mounts.
std::vector<pid_t> children();

// The ways in which tests that run on any union are repeated.
struct Layout {
    const char* name;
    std::vector<FileSystem> branches;
    const char* options;
};
// One branch, two branches, two without passthrough, four file systems.
const std::vector<Layout>& layouts();
// A Catch2 generator: the test is run once for each of them.
Layout any_layout();

// Branches and a union over all of them, writable.
struct Union {
    explicit Union(const Layout& layout, const std::string& options = "");
    explicit Union(std::initializer_list<FileSystem> kinds, const std::string& options = "",
                   Mount::Style style = Mount::Style::Background);

    std::string path(std::string_view name) const { return mount.path(name); }
    const std::string& path() const { return mount.path(); }

    Branches branches;
    Mount mount;
};

}  // namespace plyfs::test
