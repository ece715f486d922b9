// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount/mounted.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <linux/fs.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "mount/files.h"
#include "mount/sandbox.h"

namespace plyfs::test {

namespace {

constexpr int kSecondsToEnd = 30;

// Where sanitizers of daemons without a terminal write what they found.
const std::string& sanitizer_log() {
    static const std::string path = [] {
        const std::string directory = make_scratch_directory();
        REQUIRE(::chmod(directory.c_str(), 0777) == 0);  // daemons of users write there too
        const std::string log = directory + "/sanitizer";
        for (const char* variable : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}) {
            const char* given = std::getenv(variable);
            std::string options = given != nullptr ? given : "";
            options.append(options.empty() ? "" : ":").append("log_path=").append(log);
            ::setenv(variable, options.c_str(), 1);
        }
        return log;
    }();
    return path;
}

std::string read_text(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// The parent of a process; 0 if there is no such process.
pid_t parent_of(pid_t process) {
    const std::string stat = read_text("/proc/" + std::to_string(process) + "/stat");
    const auto end_of_name = stat.rfind(')');
    if (end_of_name == std::string::npos) return 0;
    char state = 0;
    pid_t parent = 0;
    std::istringstream(stat.substr(end_of_name + 1)) >> state >> parent;
    return parent;
}

// Waits until something is mounted at `path` or the process has ended.
bool wait_for_mount(const std::string& path, pid_t process) {
    const UniqueFd table(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
    while (!find_mount(path).mounted) {
        if (wait_until_ended(process, 0)) return false;
        pollfd changed{table.get(), POLLPRI, 0};
        // The daemon's end does not wake this up, hence the limit.
        ::poll(&changed, 1, 100);
    }
    return true;
}

// chattr +i and +a would keep the tree from being removed.
void remove_tree(const std::string& path) {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (!error) return;
    run({"chattr", "-R", "-f", "-i", "-a", path});
    std::filesystem::remove_all(path, error);
    CHECK(error.message() == std::error_code().message());
}

}  // namespace

Branches::Branches(const std::vector<FileSystem>& kinds) {
    require_sandbox();
    for (const FileSystem kind : kinds)
        paths_.push_back(LoopFileSystem::shared(kind).make_directory());
}

Branches::Branches(std::initializer_list<FileSystem> kinds)
    : Branches(std::vector<FileSystem>(kinds)) {}

Branches::~Branches() {
    for (const std::string& path : paths_) remove_tree(path);
}

std::string Branches::path(std::size_t i, std::string_view name) const {
    return paths_[i] + "/" + std::string(name);
}

std::string Branches::spec(std::initializer_list<const char*> modes) const {
    std::string spec;
    const auto* mode = modes.begin();
    for (const std::string& path : paths_) {
        if (!spec.empty()) spec += ':';
        spec += path + "=" + (mode != modes.end() ? *mode++ : "RW");
    }
    return spec;
}

std::size_t Branches::count(std::string_view name) const {
    std::size_t found = 0;
    for (std::size_t i = 0; i < paths_.size(); ++i) found += exists(path(i, name)) ? 1 : 0;
    return found;
}

std::string RequestLog::text() const {
    return read_text(file_);
}

std::size_t RequestLog::count(std::initializer_list<std::string_view> names) const {
    std::ifstream file(file_);
    std::size_t found = 0;
    for (std::string line; std::getline(file, line);) {
        const auto at = line.find("request ");
        if (at == std::string::npos) continue;
        std::istringstream rest(line.substr(at));
        std::string word;
        std::string name;
        rest >> word >> name;
        found += std::ranges::find(names, name) != names.end() ? 1 : 0;
    }
    return found;
}

bool MountTableEntry::has(std::string_view option) const {
    return ("," + options + ",").find("," + std::string(option) + ",") != std::string::npos;
}

// proc_pid_mountinfo(5): the fields up to ` - `, then type, source and the file system's options.
MountTableEntry find_mount(const std::string& mountpoint) {
    MountTableEntry found;
    std::ifstream table("/proc/self/mountinfo");
    for (std::string line; std::getline(table, line);) {
        std::istringstream fields(line);
        std::string id;
        std::string device;
        std::string root;
        std::string path;
        std::string options;
        fields >> id >> id >> device >> root >> path >> options;
        if (path != mountpoint) continue;
        for (std::string field; fields >> field && field != "-";) {
        }
        std::string type;
        std::string source;
        std::string more;
        fields >> type >> source >> more;
        options.append(",").append(more);
        found = {true, options, source, type, 0};
        const auto colon = device.find(':') + 1;
        std::from_chars(device.data() + colon, device.data() + device.size(), found.minor);
    }
    return found;
}

std::vector<pid_t> children() {
    std::vector<pid_t> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        const std::string name = entry.path().filename();
        pid_t process = 0;
        if (std::from_chars(name.data(), name.data() + name.size(), process).ec != std::errc())
            continue;
        if (parent_of(process) == ::getpid()) found.push_back(process);
    }
    return found;
}

Mount::Mount(const std::string& source, const std::string& options, Style style,
             const std::string& program) {
    require_sandbox();
    path_ = make_scratch_directory();
    program_ = program;
    sanitizer_log();
    std::vector<std::string> words{program, source, path_, "-o", "minfreespace=0"};
    if (!options.empty()) words.insert(words.end(), {"-o", options});
    if (const char* const more = std::getenv("PLYFS_TEST_OPTIONS"))
        words.insert(words.end(), {"-o", more});
    // Others may have taken it back since the last mount.
    if (std::string_view(words.back()).find("io_uring") != std::string_view::npos) offer_io_uring();
    if (style == Style::Background) {
        const std::vector<pid_t> before = children();
        const Ran ran = run(words);
        INFO(ran.output);
        REQUIRE(ran.status == 0);
        for (const pid_t child : children())
            if (std::ranges::find(before, child) == before.end()) daemon_ = child;
    } else {
        log_ = make_scratch_directory() + "/requests";
        words.insert(words.end(), {"-f", "-d"});
        daemon_ = ::fork();
        if (daemon_ == 0) {
            const UniqueFd log(::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600));
            if (!log || ::dup2(log.get(), STDERR_FILENO) < 0) ::_exit(126);
            std::vector<char*> arguments;
            arguments.reserve(words.size() + 1);
            for (std::string& word : words) arguments.push_back(word.data());
            arguments.push_back(nullptr);
            ::execv(arguments[0], arguments.data());
            ::_exit(127);
        }
        if (!wait_for_mount(path_, daemon_)) {
            INFO(read_text(log_));
            FAIL("did not mount; ended with " << reap(std::exchange(daemon_, 0)));
        }
    }
    mounted();
    if (style == Style::Background && std::getenv("PLYFS_TEST_RESTARTS") != nullptr) {
        restarter_ = std::make_unique<Restarter>(program_, path_, daemon_);
    }
}

Mount Mount::adopt(const std::string& mountpoint) {
    Mount mount;
    mount.path_ = mountpoint;
    const auto all = children();
    if (!all.empty()) mount.daemon_ = std::ranges::max(all);
    mount.mounted();
    return mount;
}

Mount::Mount(Mount&& other) noexcept
    : path_(std::move(other.path_)), log_(std::move(other.log_)),
      program_(std::move(other.program_)), daemon_(std::exchange(other.daemon_, 0)),
      connection_(std::exchange(other.connection_, 0)), restarter_(std::move(other.restarter_)) {}

void Mount::mounted() {
    REQUIRE(daemon_ > 0);
    const MountTableEntry entry = find_mount(path_);
    REQUIRE(entry.mounted);
    connection_ = entry.minor;
    watch_connection(connection_);
    struct stat root{};
    const Outcome answered = outcome(::stat(path_.c_str(), &root));
    // A user's mount answers nobody else, unless it allows them.
    if (answered != EACCES || entry.has("allow_other")) REQUIRE(answered == kOk);
}

Mount::~Mount() {
    if (daemon_ > 0) unmount();
}

std::string Mount::path(std::string_view name) const {
    return path_ + "/" + std::string(name);
}

void Mount::unmount() {
    stop_restarting();
    // A daemon that was just seen to be mounted may be looking at its mountpoint itself.
    Outcome unmounted = outcome(::umount2(path_.c_str(), UMOUNT_NOFOLLOW));
    for (int attempt = 0; unmounted == EBUSY && attempt < 100; ++attempt) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        unmounted = outcome(::umount2(path_.c_str(), UMOUNT_NOFOLLOW));
    }
    CHECK(unmounted == kOk);
    if (!unmounted.ok()) ::umount2(path_.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH);
    expect_end();
}

Ran Mount::try_restart() const {
    stop_restarting();
    return run({program_, "restart", path_});
}

void Mount::restart() {
    const pid_t before = daemon();
    const Ran ran = try_restart();
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    follow_daemon(nlohmann::json::parse(get_xattr(path_, "user.plyfs.stats")));
    if (log_.empty()) CHECK(daemon_ != before);
}

void Mount::follow_daemon(const nlohmann::json& statistics) {
    const auto successor = statistics.at("daemon").at("process").get<pid_t>();
    if (!log_.empty() || successor == daemon_) return;  // in front it waits for its successor
    const pid_t before = std::exchange(daemon_, successor);
    CHECK(wait_until_ended(before, kSecondsToEnd));
    const int status = reap(before);
    INFO(read_text(sanitizer_log() + "." + std::to_string(before)));
    CHECK(status == 0);
}

pid_t Mount::daemon() const {
    stop_restarting();
    return daemon_;
}

void Mount::stop_restarting() const {
    if (!restarter_) return;
    daemon_ = restarter_->stop();
    restarter_.reset();
    REQUIRE(daemon_ > 0);
}

void Mount::expect_end() {
    stop_restarting();
    const pid_t daemon = std::exchange(daemon_, 0);
    const bool ended = wait_until_ended(daemon, kSecondsToEnd);
    CHECK(ended);
    if (!ended) ::kill(daemon, SIGKILL);
    const int status = reap(daemon);
    unwatch_connection(connection_);
    const std::string log = sanitizer_log() + "." + std::to_string(daemon);
    INFO(read_text(log) << (log_.empty() ? "" : read_text(log_)));
    CHECK(status == 0);
    CHECK_FALSE(find_mount(path_).mounted);
    CHECK(outcome(::rmdir(path_.c_str())) == kOk);
}

void Mount::abandon() {
    daemon_ = 0;
    unwatch_connection(connection_);
}

const std::vector<Layout>& layouts() {
    using enum FileSystem;
    static const std::vector<Layout> all = [] {
        std::vector<Layout> layouts{
            {"one branch", {Ext4}, ""},
            {"two branches", {Ext4, Ext4}, "category.create=rand"},
            {"without passthrough", {Ext4, Ext4}, "passthrough.io=off"},
            {"four file systems", {Ext4, Xfs, Btrfs, Tmpfs}, "category.create=rand"},
        };
        if (offer_io_uring()) layouts.push_back({"through io_uring", {Ext4, Ext4}, "io_uring"});
        return layouts;
    }();
    return all;
}

Layout any_layout() {
    Layout layout = GENERATE_REF(from_range(layouts()));
    UNSCOPED_INFO(layout.name);
    return layout;
}

nlohmann::json statistics(const Mount& mount) {
    return nlohmann::json::parse(get_xattr(mount.path(), "user.plyfs.stats"));
}

Union::Union(const Layout& layout, const std::string& options)
    : branches(layout.branches),
      mount(branches.spec(), std::string(layout.options) +
                                 (*layout.options != '\0' && !options.empty() ? "," : "") +
                                 options) {}

Union::Union(std::initializer_list<FileSystem> kinds, const std::string& options,
             Mount::Style style)
    : branches(kinds), mount(branches.spec(), options, style) {}

}  // namespace plyfs::test
