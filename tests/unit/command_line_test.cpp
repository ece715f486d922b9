// SPDX-License-Identifier: GPL-2.0-or-later
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <sstream>

#include "cli/command_line.h"
#include "cli/stats.h"
#include "cli/umount.h"
#include "config_scratch.h"

using namespace plyfs::cli;
using plyfs::config::test::Scratch;

namespace {

std::expected<Command, Failure> parse(const std::vector<std::string>& words) {
    std::vector<const char*> argv;
    argv.reserve(words.size());
    for (const std::string& word : words) argv.push_back(word.c_str());
    return parse_command_line(static_cast<int>(argv.size()), argv.data());
}

template <typename Wanted>
Wanted parse_as(const std::vector<std::string>& words) {
    auto command = parse(words);
    if (!command) FAIL(command.error().text);
    REQUIRE(std::holds_alternative<Wanted>(*command));
    return std::get<Wanted>(*std::move(command));
}

}  // namespace

TEST_CASE("mounting takes its options anywhere", "[cli]") {
    const Scratch scratch;
    const std::string a = scratch.directory("a");
    const std::string mnt = scratch.directory("mnt");
    using Words = std::vector<std::string>;
    const std::vector<Words> forms = {
        Words{"plyfs", a, mnt, "-o", "locks=branch,ro", "-f"},
        Words{"plyfs", "-f", "-o", "locks=branch", "-r", a, mnt},
        Words{"plyfs", a, "-olocks=branch", "-oro", mnt, "--foreground"},
        Words{"plyfs", "mount", "-fro", "locks=branch", "--", a, mnt}};
    for (const Words& words : forms) {
        CAPTURE(words);
        const auto mount = parse_as<MountCommand>(words);
        const auto& options = mount.configuration.options;
        REQUIRE(options.branches.size() == 1);
        CHECK(options.branches[0].path == a);
        CHECK(options.mountpoint == mnt);
        CHECK(options.locks == plyfs::config::LockScope::Branch);
        CHECK(options.read_only);
        CHECK(options.foreground);
        CHECK_FALSE(options.debug);
        CHECK_FALSE(mount.fake);
        CHECK(mount.failure == kFailure);
    }
}

TEST_CASE("-d stays in the foreground and -v is verbose", "[cli]") {
    const Scratch scratch;
    const auto mount =
        parse_as<MountCommand>({"plyfs", scratch.directory("a"), scratch.directory("mnt"), "-dv"});
    CHECK(mount.configuration.options.debug);
    CHECK(mount.configuration.options.foreground);
    CHECK(mount.verbose);
}

TEST_CASE("the mount helper understands what mount(8) passes", "[cli]") {
    const Scratch scratch;
    const auto mount = parse_as<MountCommand>(
        {"/sbin/mount.plyfs", scratch.directory("a"), scratch.directory("mnt"), "-sfnv", "-t",
         "fuse.plyfs", "-o", "rw,nosuid,user=joe,_netdev,zebra,minfreespace=0"});
    CHECK(mount.fake);
    CHECK(mount.failure == kHelperFailure);
    CHECK_FALSE(mount.configuration.options.foreground);
    CHECK(mount.configuration.options.no_exec);
    CHECK(mount.configuration.warnings.size() == 1);  // zebra
}

TEST_CASE("wrong command lines end with the exit code that callers expect", "[cli]") {
    const Scratch scratch;
    const std::string a = scratch.directory("a");
    const std::string mnt = scratch.directory("mnt");
    struct Row {
        std::vector<std::string> words;
        int exit_code;
    };
    const std::vector<Row> rows = {
        Row{{"plyfs"}, kUsage},
        Row{{"plyfs", a}, kUsage},
        Row{{"plyfs", a, mnt, "--zebra"}, kUsage},
        Row{{"plyfs", a, mnt, "third"}, kUsage},
        Row{{"plyfs", "umount"}, kUsage},
        Row{{"plyfs", "check"}, kUsage},
        Row{{"plyfs", "stats"}, kUsage},
        Row{{"plyfs", "stats", mnt, "another"}, kUsage},
        Row{{"plyfs", "stats", mnt, "--xml"}, kUsage},
        Row{{"plyfs", "stats", mnt, "--watch"}, kUsage},
        Row{{"plyfs", "stats", mnt, "--watch", "0"}, kUsage},
        Row{{"plyfs", "stats", mnt, "--watch", "-1"}, kUsage},
        Row{{"plyfs", "stats", mnt, "--watch", "soon"}, kUsage},
        Row{{"plyfs", "stats", mnt, "--watch", "99999999999"}, kUsage},
        Row{{"plyfs", a, mnt, "-o"}, kUsage},
        Row{{"plyfs", a, mnt, "-o", "zebra"}, kFailure},
        Row{{"plyfs", a, a}, kFailure},
        Row{{"plyfs", "check", scratch / "none.yaml"}, kFailure},
        Row{{"mount.plyfs", a}, kHelperUsage},
        Row{{"mount.plyfs", a, a}, kHelperFailure},
        Row{{"mount.fuse.plyfs", a, mnt, "-o", "zebra"}, kHelperFailure}};
    for (const Row& row : rows) {
        CAPTURE(row.words);
        const auto command = parse(row.words);
        REQUIRE_FALSE(command);
        CHECK(command.error().exit_code == row.exit_code);
        CHECK(command.error().text.starts_with("plyfs: "));
        CHECK(command.error().text.ends_with("\n"));
    }
}

TEST_CASE("each command has a help, and there is a version", "[cli]") {
    using Words = std::vector<std::string>;
    const auto words = GENERATE(Words{"plyfs", "--help"}, Words{"plyfs", "mount", "--help"},
                                Words{"plyfs", "umount", "-h"}, Words{"plyfs", "check", "--help"},
                                Words{"plyfs", "stats", "--help"}, Words{"mount.plyfs", "--help"},
                                Words{"plyfs", "/a", "--help"});
    CHECK(parse_as<HelpCommand>(words).text.find("plyfs") != std::string::npos);
    parse_as<VersionCommand>({"plyfs", "--version"});
    parse_as<VersionCommand>({"mount.plyfs", "-V"});
}

TEST_CASE("a YAML file that names its mountpoint needs no other", "[cli]") {
    const Scratch scratch;
    scratch.directory("a");
    const std::string mnt = scratch.directory("mnt");
    const auto file = scratch.file("pool.yaml", "branches: [a]\nmountpoint: mnt\n");
    CHECK(parse_as<MountCommand>({"plyfs", file}).configuration.options.mountpoint == mnt);
    CHECK(parse_as<CheckCommand>({"plyfs", "check", file}).configuration.options.mountpoint == mnt);
    CHECK(parse({"plyfs", scratch.file("bare.yaml", "branches: [a]\n")}).error().text ==
          "plyfs: MOUNTPOINT is missing, and the YAML file names none\n"
          "plyfs: see `plyfs --help`\n");
}

TEST_CASE("where options name layers the one word is the mountpoint", "[cli][overlay_form]") {
    const Scratch scratch;
    const std::string lower = "lowerdir=" + scratch.directory("a");
    const std::string mnt = scratch.directory("mnt");
    const auto mountpoint = [](const auto& command) {
        return command.configuration.options.mountpoint;
    };
    CHECK(mountpoint(parse_as<MountCommand>({"plyfs", "-o", lower, mnt})) == mnt);
    CHECK(mountpoint(parse_as<MountCommand>({"plyfs", "overlay", mnt, "-o", lower})) == mnt);
    CHECK(mountpoint(parse_as<MountCommand>({"mount.plyfs", "overlay", mnt, "-o", lower})) == mnt);
    CHECK(mountpoint(parse_as<CheckCommand>({"plyfs", "check", "-o", lower})).empty());
    CHECK(parse({"plyfs", "-o", lower}).error().exit_code == kUsage);
}

TEST_CASE("stats takes a mountpoint, a form and an interval", "[cli]") {
    const auto plain = parse_as<StatsCommand>({"plyfs", "stats", "/mnt"});
    CHECK(plain.mountpoint == "/mnt");
    CHECK_FALSE(plain.json);
    CHECK_FALSE(plain.interval);
    const auto watched = parse_as<StatsCommand>({"plyfs", "stats", "-w", "5", "--json", "/mnt"});
    CHECK(watched.mountpoint == "/mnt");
    CHECK(watched.json);
    CHECK(watched.interval == std::chrono::seconds(5));
    CHECK(parse_as<StatsCommand>({"plyfs", "stats", "--", "--json"}).mountpoint == "--json");
}

TEST_CASE("stats asks plyfs mounts only", "[cli]") {
    const Scratch scratch;
    const auto messages_of = [](const std::string& mountpoint) {
        std::ostringstream output;
        std::ostringstream messages;
        CHECK(plyfs::cli::stats({mountpoint, false, {}}, output, messages) == kFailure);
        CHECK(output.str() == "");
        return messages.str();
    };
    CHECK(messages_of("/proc") == "plyfs: /proc: not a plyfs mount but proc\n");
    CHECK(messages_of(scratch.path()) == "plyfs: " + scratch.path() + ": not a mountpoint\n");
    CHECK(messages_of("/none") == "plyfs: /none: No such file or directory\n");
    CHECK(messages_of("/etc/passwd") == "plyfs: /etc/passwd: Not a directory\n");
}

TEST_CASE("umount touches plyfs mounts only", "[cli]") {
    const Scratch scratch;
    const auto command =
        parse_as<UmountCommand>({"plyfs", "umount", "-l", "/proc", scratch.path()});
    CHECK(command.lazy);
    std::ostringstream messages;
    CHECK(plyfs::cli::umount(command, messages) == kFailure);
    CHECK(messages.str() == "plyfs: /proc: not a plyfs mount but proc: use umount(8)\n"
                            "plyfs: " +
                                scratch.path() + ": nothing is mounted there\n");
}
