// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a mount says of itself: the attribute of its root, and the command that reads it.
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "mount/files.h"
#include "mount/layers.h"
#include "mount/mounted.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using enum FileSystem;

constexpr char kAttribute[] = "user.plyfs.stats";

// The same as the command prints.
nlohmann::json report(const std::string& mountpoint) {
    const Ran ran = run({PLYFS_BINARY, "stats", "--json", mountpoint});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    return nlohmann::json::parse(ran.output);
}

// The first report of which `holds` is true, or the last one in 20 seconds: a request is counted
// after it was answered, and the kernel does not wait for the end of a close.
template <typename Holds>
nlohmann::json report_when(const std::string& mountpoint, Holds&& holds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
        auto latest = nlohmann::json::parse(get_xattr(mountpoint, kAttribute));
        if (holds(latest) || std::chrono::steady_clock::now() > deadline) return latest;
        std::this_thread::yield();
    }
}

nlohmann::json report_when_closed(const std::string& mountpoint) {
    return report_when(mountpoint,
                       [](const auto& latest) { return latest.at("open").at("files") == 0; });
}

std::uint64_t requests(const nlohmann::json& report, const char* name,
                       const char* member = "count") {
    const auto& all = report.at("requests");
    return all.contains(name) ? all.at(name).at(member).get<std::uint64_t>() : 0;
}

// What the command says of a path that it can't tell anything of.
std::string refusal(const std::string& path) {
    const Ran ran = run({PLYFS_BINARY, "stats", path});
    CHECK(ran.status == 1);
    const std::string prefix = "plyfs: " + path + ": ";
    REQUIRE_THAT(ran.output, StartsWith(prefix));
    return ran.output.substr(prefix.size());
}

TEST_CASE("opens and backings are counted", "[stats]") {
    const Union united{Ext4, Ext4};
    put(united.path("file"), "content");
    const auto before = report_when_closed(united.path());
    CHECK(before.at("opens") ==
          nlohmann::json{{"passthrough", 1}, {"cached", 0}, {"direct", 0}, {"kept_pages", 0}});
    CHECK(before.at("branches") == nlohmann::json{{"writable", 2}, {"read_only", 0}});
    CHECK(before.at("kernel").at("features").at("passthrough") == true);
    CHECK(before.at("open").at("files") == 0);
    CHECK(before.at("backings").at("registered") == 0);
    {
        const UniqueFd one = open_file(united.path("file"), O_RDONLY);
        const UniqueFd two = open_file(united.path("file"), O_RDWR);
        const auto during = report(united.path());
        CHECK(during.at("opens").at("passthrough") == 3);
        CHECK(during.at("open").at("files") == 2);
        CHECK(during.at("backings").at("registered") == 1);  // one for both
        CHECK(during.at("backings").at("registrations") == 2);
    }
    const auto after = report_when_closed(united.path());
    CHECK(after.at("open").at("files") == 0);
    // Left with a kernel that opens by itself, if any.
    CHECK(after.at("backings").at("registered") == after.at("backings").at("attached"));
    CHECK(after.at("backings").at("registrations") == 2);
}

TEST_CASE("opens through the daemon are counted", "[stats]") {
    const Union united({Ext4}, "passthrough.io=off");
    put(united.path("file"), "content");
    const auto counted = report(united.path());
    CHECK(counted.at("opens") ==
          nlohmann::json{{"passthrough", 0}, {"cached", 1}, {"direct", 0}, {"kept_pages", 0}});
    CHECK(counted.at("kernel").at("features").at("passthrough") == false);
    const auto written = report_when(
        united.path(), [](const auto& latest) { return requests(latest, "WRITE") == 1; });
    CHECK(requests(written, "WRITE") == 1);
}

// An overlay of the kernel's over another one, which is a stack too deep to be passed through.
class TwoOverlays {
public:
    TwoOverlays() {
        require_sandbox();
        for (const char* const name : {"lower", "upper", "work", "upper2", "work2"}) {
            make_directory(layers_.path(0, name));
        }
        mount(layers_.path(0, "lower"), "upper", "work", first_);
        mount(first_, "upper2", "work2", second_);
    }
    TwoOverlays(const TwoOverlays&) = delete;
    TwoOverlays& operator=(const TwoOverlays&) = delete;
    ~TwoOverlays() {
        CHECK(outcome(::umount2(second_.c_str(), 0)) == kOk);
        CHECK(outcome(::umount2(first_.c_str(), 0)) == kOk);
    }
    const std::string& path() const { return second_; }

private:
    void mount(const std::string& lower, const char* upper, const char* work,
               const std::string& mountpoint) {
        const std::string options = "lowerdir=" + lower + ",upperdir=" + layers_.path(0, upper) +
                                    ",workdir=" + layers_.path(0, work);
        REQUIRE(outcome(::mount("overlay", mountpoint.c_str(), "overlay", 0, options.c_str())) ==
                kOk);
    }

    Branches layers_{Ext4};
    std::string first_ = make_scratch_directory();
    std::string second_ = make_scratch_directory();
};

TEST_CASE("refused registrations are counted by reason", "[stats][passthrough]") {
    const TwoOverlays overlays;
    const Mount mount(overlays.path());
    put(mount.path("file"), "content");
    const auto counted = report(mount.path());
    CHECK(counted.at("backings").at("refused").at("stacked") == 1);
    CHECK(counted.at("backings").at("refused").at("no_privilege") == 0);
    CHECK(counted.at("backings").at("registrations") == 0);
    CHECK(counted.at("opens") ==
          nlohmann::json{{"passthrough", 0}, {"cached", 1}, {"direct", 0}, {"kept_pages", 0}});
    CHECK_THAT(run({PLYFS_BINARY, "stats", mount.path()}).output,
               ContainsSubstring("1 stacked too deep"));
}

TEST_CASE("copy-ups are counted", "[stats][copy_up]") {
    const std::string data(100'000, 'x');
    const auto kind = GENERATE(Ext4, Xfs);
    CAPTURE(name_of(kind));
    const Branches branches{kind, kind};
    for (const char* const name : {"file", "other"}) put(branches.path(1, name), data);
    const Mount mount(branches.spec({"RW", "RO"}), "copy_up.metacopy=on");
    const auto copy_ups = [&] { return report(mount.path()).at("copy_ups"); };
    CHECK(copy_ups().at("made") == 0);

    REQUIRE(outcome(::chmod(mount.path("other").c_str(), 0600)) == kOk);
    CHECK(copy_ups().at("made") == 1);
    CHECK(copy_ups().at("metadata_only") == 1);
    CHECK(copy_ups().at("bytes_copied") == 0);

    {
        const UniqueFd file = open_file(mount.path("file"), O_WRONLY | O_APPEND);
        REQUIRE(write_all(file.get(), "more") == kOk);
    }
    const auto counted = copy_ups();
    CHECK(counted.at("made") == 2);
    CHECK(counted.at("metadata_only") == 1);
    CHECK(counted.at("failed") == 0);
    CHECK(counted.at("running") == 0);
    // Both branches are on one file system, and xfs shares blocks.
    const bool cloned = kind == Xfs;
    CHECK(counted.at("cloned") == (cloned ? 1 : 0));
    CHECK(counted.at("bytes_cloned") == (cloned ? data.size() : 0));
    CHECK(counted.at("bytes_copied") == (cloned ? 0 : data.size()));
}

TEST_CASE("requests are counted with their errors and their time", "[stats]") {
    const Union united{Ext4};
    for (int i = 0; i < 10; ++i) CHECK_FALSE(exists(united.path("none" + std::to_string(i))));
    const auto counted = report_when(
        united.path(), [](const auto& latest) { return requests(latest, "LOOKUP") == 10; });
    CHECK(requests(counted, "LOOKUP") == 10);
    CHECK(requests(counted, "LOOKUP", "errors") == 10);
    for (const auto& [name, request] : counted.at("requests").items()) {
        CAPTURE(name);
        std::uint64_t sum = 0;
        for (const auto& bucket : request.at("buckets")) sum += bucket.at(1).get<std::uint64_t>();
        CHECK(sum == request.at("count"));
        CHECK(request.at("max_ns") > 0);
        CHECK(request.at("total_ns") >= request.at("max_ns"));
    }
}

TEST_CASE("statistics are printed as text", "[stats]") {
    const Union united{Ext4};
    const Ran ran = run({PLYFS_BINARY, "stats", united.path()});
    INFO(ran.output);
    CHECK(ran.status == 0);
    CHECK_THAT(ran.output, StartsWith("plyfs "));
    CHECK_THAT(ran.output, ContainsSubstring("1 branch (1 writable)"));
    CHECK_THAT(ran.output, ContainsSubstring("\nGETATTR "));
}

TEST_CASE("statistics are printed again and again", "[stats]") {
    const Union united{Ext4};
    const Ran ran = run(
        {"sh", "-c",
         std::string(PLYFS_BINARY) + " stats --json --watch 1 " + united.path() + " | head -n 2"});
    const std::size_t end = ran.output.find('\n');
    REQUIRE(end != std::string::npos);
    const auto first = nlohmann::json::parse(ran.output.substr(0, end));
    const auto second = nlohmann::json::parse(ran.output.substr(end + 1));
    CHECK(second.at("uptime_seconds") > first.at("uptime_seconds"));
}

TEST_CASE("the attribute of the statistics is of the root only and never listed", "[stats]") {
    const Union united{Ext4};
    const std::string& root = united.path();
    make_directory(united.path("directory"));
    CHECK(try_get_xattr(united.path("directory"), kAttribute) == ENODATA);
    CHECK(xattr_names(root).empty());
    CHECK(set_xattr(root, kAttribute, "x") == EPERM);
    CHECK(outcome(::removexattr(root.c_str(), kAttribute)) == EPERM);

    SECTION("whatever the branch has") {
        REQUIRE(set_xattr(united.branches[0], kAttribute, "x") == kOk);
        REQUIRE(set_xattr(united.branches[0], "user.other", "x") == kOk);
        CHECK(xattr_names(root) == std::set<std::string>{"user.other"});
        CHECK_THAT(get_xattr(root, kAttribute), StartsWith("{"));
    }
    SECTION("and answers its size first") {
        const ssize_t size = ::getxattr(root.c_str(), kAttribute, nullptr, 0);
        REQUIRE(size > 0);
        CHECK(get_xattr(root, kAttribute).size() <= static_cast<std::size_t>(size));
        std::array<char, 10> small{};
        CHECK(outcome(::getxattr(root.c_str(), kAttribute, small.data(), small.size())) == ERANGE);
    }
    SECTION("and is not copied") {
        const std::string copy = make_scratch_directory() + "/copy";
        CHECK(run({"cp", "-a", root, copy}).status == 0);
        CHECK(try_get_xattr(copy, kAttribute) == ENODATA);
    }
}

TEST_CASE("statistics are there where attributes are turned off", "[stats]") {
    const Union united({Ext4}, "xattr=noattr,posix-acl=off");
    CHECK(report(united.path()).at("opens").at("cached") == 0);
}

TEST_CASE("statistics take the right to read the root", "[stats][permissions]") {
    const Union united{Ext4};
    const mode_t mode = GENERATE(mode_t{0755}, mode_t{0711});
    REQUIRE(outcome(::chmod(united.path().c_str(), mode)) == kOk);
    const bool readable = mode == 0755;
    CHECK(as_user(kAlice, [&] { return try_get_xattr(united.path(), kAttribute); }) ==
          (readable ? kOk : Outcome(EACCES)));
    if (readable) return;
    const Ran ran = run({"setpriv", "--reuid=" + std::to_string(kAlice.uid), "--clear-groups",
                         "/usr/sbin/plyfs", "stats", united.path()});
    CHECK(ran.status == 1);
    CHECK(ran.output == "plyfs: " + united.path() +
                            ": statistics take the right to read the root of the mount\n");
}

TEST_CASE("what is not the root of a plyfs has no statistics", "[stats]") {
    const Union united{Ext4};
    make_directory(united.path("directory"));
    put(united.path("file"), "");
    CHECK(refusal(united.path("directory")) ==
          "not a mountpoint: the plyfs is mounted at " + united.path() + "\n");
    CHECK(refusal(united.path("file")) == "Not a directory\n");
    CHECK(refusal(united.path("none")) == "No such file or directory\n");
    CHECK(refusal(united.branches[0]) == "not a mountpoint\n");
    CHECK(refusal("/proc") == "not a plyfs mount but proc\n");

    const std::string bound = make_scratch_directory();
    SECTION("nor has a part of it that is mounted elsewhere") {
        REQUIRE(::mount(united.path("directory").c_str(), bound.c_str(), nullptr, MS_BIND,
                        nullptr) == 0);
        CHECK(refusal(bound) == "not the root of a plyfs but its directory /directory\n");
        CHECK(::umount(bound.c_str()) == 0);
    }
    SECTION("but all of it has") {
        REQUIRE(::mount(united.path().c_str(), bound.c_str(), nullptr, MS_BIND, nullptr) == 0);
        CHECK(report(bound).at("threads") == report(united.path()).at("threads"));
        CHECK(::umount(bound.c_str()) == 0);
    }
}

TEST_CASE("a mount whose daemon has died has no statistics", "[stats]") {
    const Branches branches{Ext4};
    Mount mount(branches.spec());
    ::kill(mount.daemon(), SIGKILL);
    CHECK(reap(mount.daemon()) == 128 + SIGKILL);
    CHECK(refusal(mount.path()) == "its daemon has ended: unmount it (plyfs umount)\n");
    REQUIRE(outcome(::umount2(mount.path().c_str(), UMOUNT_NOFOLLOW)) == kOk);
    mount.abandon();
}

TEST_CASE("statistics are asked for while much is going on", "[stats]") {
    const Union united{Ext4, Ext4};
    constexpr std::uint64_t kFiles = 300;
    std::array<std::uint64_t, 3> made{};
    {
        std::vector<std::jthread> workers;
        for (std::size_t worker = 0; worker < made.size(); ++worker) {
            workers.emplace_back([&united, worker, &count = made[worker]] {
                for (std::uint64_t i = 0; i < kFiles; ++i) {
                    const std::string name =
                        "file" + std::to_string(worker) + '.' + std::to_string(i);
                    const UniqueFd file = open_file(united.path(name), O_RDWR | O_CREAT);
                    if (file) ++count;
                }
            });
        }
        for (int i = 0; i < 20; ++i) {
            const auto counted = nlohmann::json::parse(get_xattr(united.path(), kAttribute));
            CHECK(counted.at("open").at("files") <= made.size() * kFiles);
        }
    }
    const auto counted = report_when(united.path(), [](const auto& latest) {
        return requests(latest, "CREATE") == 3 * kFiles &&
               requests(latest, "RELEASE") == 3 * kFiles;
    });
    CHECK(made == std::array<std::uint64_t, 3>{kFiles, kFiles, kFiles});
    CHECK(requests(counted, "CREATE") == 3 * kFiles);
    CHECK(requests(counted, "RELEASE") == 3 * kFiles);
    CHECK(counted.at("open").at("files") == 0);
    CHECK(counted.at("opens").at("passthrough") == 3 * kFiles);
}

}  // namespace
}  // namespace plyfs::test
