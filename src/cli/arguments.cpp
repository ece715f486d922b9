// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/arguments.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <utility>

#include "config/configuration.h"

namespace plyfs::cli {

namespace {

constexpr const char* kSource = "branches, PATH[=MODE[,MINFREE]] joined by `:`, or a YAML file";

void add_source(CLI::App& app, MountArguments& arguments) {
    app.add_option("SOURCE", arguments.source, kSource);
    app.add_option("MOUNTPOINT", arguments.mountpoint,
                   "an empty directory; may be left out if the YAML file names it");
}

void add_options(CLI::App& app, MountArguments& arguments) {
    app.add_option("-o", arguments.option_lists,
                   "mount options, joined by commas (see mount.plyfs(8))")
        ->allow_extra_args(false)
        ->type_name("OPTIONS");
    app.add_flag("-s", arguments.sloppy, "ignore unknown mount options");
}

void add_mount_flags(CLI::App& app, MountArguments& arguments) {
    const auto option = [&arguments](const char* name) {
        return [&arguments, name](std::int64_t) { arguments.option_lists.emplace_back(name); };
    };
    app.add_flag_function("-r,--read-only", option("ro"), "as -o ro");
    app.add_flag_function("-w,--rw,--read-write", option("rw"), "as -o rw");
    app.add_flag("-n,--no-mtab")->description("accepted and ignored");
    app.add_flag("-v,--verbose", arguments.verbose, "say what is mounted");
}

// CLI11's barrier. It takes the words last one first.
template <typename Arguments>
ParsedArguments<Arguments> run(CLI::App& app, Arguments& arguments,
                               std::vector<std::string> words) {
    std::ranges::reverse(words);
    try {
        app.parse(std::move(words));
    } catch (const CLI::CallForHelp&) {
        return HelpText{app.help()};
    } catch (const CLI::ParseError& error) {
        return std::unexpected(UsageError{error.what()});
    }
    return std::move(arguments);
}

ParsedArguments<MountArguments> with_source(ParsedArguments<MountArguments> parsed,
                                            bool needs_mountpoint) {
    if (!parsed) return parsed;
    auto* arguments = std::get_if<MountArguments>(&*parsed);
    if (arguments == nullptr) return parsed;
    const bool has_layers = config::names_layers(arguments->option_lists);
    // The one word is the mountpoint then.
    if (has_layers && arguments->mountpoint.empty())
        std::swap(arguments->source, arguments->mountpoint);
    if (arguments->source.empty() && !has_layers)
        return std::unexpected(UsageError{"SOURCE is missing"});
    if (needs_mountpoint && arguments->mountpoint.empty())
        return std::unexpected(UsageError{"MOUNTPOINT is missing"});
    return parsed;
}

}  // namespace

ParsedArguments<MountArguments> parse_mount(const std::vector<std::string>& words) {
    MountArguments arguments;
    CLI::App app("Mounts the union of some directories.", "plyfs mount");
    add_source(app, arguments);
    add_options(app, arguments);
    add_mount_flags(app, arguments);
    app.add_flag("-f,--foreground", arguments.foreground, "do not go to the background");
    app.add_flag("-d,--debug", arguments.debug, "log each request; stays in the foreground");
    return with_source(run(app, arguments, words), false);
}

ParsedArguments<MountArguments> parse_mount_helper(const std::vector<std::string>& words) {
    MountArguments arguments;
    std::string type;
    CLI::App app("Called by mount(8) for the types plyfs and fuse.plyfs.", "mount.plyfs");
    add_source(app, arguments);
    add_options(app, arguments);
    add_mount_flags(app, arguments);
    app.add_flag("-f,--fake", arguments.fake, "do everything but mount");
    app.add_option("-N,--namespace", arguments.mount_namespace, "the mount namespace to mount in")
        ->type_name("FILE");
    app.add_option("-t,--types", type, "accepted and ignored")->type_name("TYPE");
    return with_source(run(app, arguments, words), true);
}

ParsedArguments<MountArguments> parse_check(const std::vector<std::string>& words) {
    MountArguments arguments;
    CLI::App app("Checks a configuration and prints all of it as YAML; mounts nothing.",
                 "plyfs check");
    add_source(app, arguments);
    add_options(app, arguments);
    return with_source(run(app, arguments, words), false);
}

ParsedArguments<UmountArguments> parse_umount(const std::vector<std::string>& words) {
    UmountArguments arguments;
    CLI::App app("Unmounts unions.", "plyfs umount");
    app.add_option("MOUNTPOINT", arguments.mountpoints, "where a plyfs is mounted");
    app.add_flag("-l,--lazy", arguments.lazy, "detach at once, finish when nothing uses it");
    auto parsed = run(app, arguments, words);
    if (parsed && std::holds_alternative<UmountArguments>(*parsed) &&
        std::get<UmountArguments>(*parsed).mountpoints.empty())
        return std::unexpected(UsageError{"MOUNTPOINT is missing"});
    return parsed;
}

ParsedArguments<StatsArguments> parse_stats(const std::vector<std::string>& words) {
    constexpr unsigned kLongest = 24 * 60 * 60;
    StatsArguments arguments;
    CLI::App app("Prints what the daemon of a union has counted.", "plyfs stats");
    app.add_option("MOUNTPOINT", arguments.mountpoint, "where a plyfs is mounted");
    app.add_flag("--json", arguments.json, "one line of JSON, with the histograms of latency");
    app.add_option("-w,--watch", arguments.interval, "again every so many seconds")
        ->check(CLI::Range(1U, kLongest))
        ->type_name("SECONDS");
    auto parsed = run(app, arguments, words);
    if (parsed && std::holds_alternative<StatsArguments>(*parsed) &&
        std::get<StatsArguments>(*parsed).mountpoint.empty())
        return std::unexpected(UsageError{"MOUNTPOINT is missing"});
    return parsed;
}

ParsedArguments<RestartArguments> parse_restart(const std::vector<std::string>& words) {
    RestartArguments arguments;
    CLI::App app("Replaces the daemon of a union by a new process of the program as it is on disk "
                 "now, while the union stays mounted and its files stay open.",
                 "plyfs restart");
    app.add_option("MOUNTPOINT", arguments.mountpoint, "where a plyfs is mounted");
    auto parsed = run(app, arguments, words);
    if (parsed && std::holds_alternative<RestartArguments>(*parsed) &&
        std::get<RestartArguments>(*parsed).mountpoint.empty())
        return std::unexpected(UsageError{"MOUNTPOINT is missing"});
    return parsed;
}

}  // namespace plyfs::cli
