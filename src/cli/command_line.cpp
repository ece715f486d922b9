// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/command_line.h"

#include <charconv>
#include <string_view>
#include <utility>

#include "cli/arguments.h"
#include "cli/mount_namespace.h"

namespace plyfs::cli {

namespace {

constexpr std::string_view kHelp =
    R"(plyfs unites directories in one mount.

Usage:
  plyfs [mount] SOURCE [MOUNTPOINT] [-o OPTIONS]... [-f] [-d]
  plyfs -o lowerdir=LOWER[:...][,upperdir=UPPER,workdir=WORK][,...] MOUNTPOINT
  plyfs umount [-l] MOUNTPOINT...
  plyfs check SOURCE [MOUNTPOINT] [-o OPTIONS]...
  plyfs stats [--json] [-w SECONDS] MOUNTPOINT
  plyfs restart MOUNTPOINT
  plyfs COMMAND --help
  plyfs --version

SOURCE is a list of branches, PATH[=MODE[,MINFREE]] joined by `:` with the modes RW, NC and RO, or
a YAML file:
  plyfs /mnt/ssd:/mnt/hdd*=NC:/srv/archive=RO /media -o minfreespace=10G
  plyfs /etc/plyfs/media.yaml /media
)";

// Mounting and mounting as a helper differ in what the exit codes are.
struct ExitCodes {
    int usage = kUsage;
    int failure = kFailure;
};

std::unexpected<Failure> usage_failure(const UsageError& error, int exit_code,
                                       std::string_view command) {
    return std::unexpected(
        Failure{exit_code, message_line(error.reason) +
                               message_line("see `" + std::string(command) + " --help`")});
}

std::unexpected<Failure> config_failure(const config::ConfigErrors& errors, int exit_code) {
    std::string text;
    for (const config::ConfigError& error : errors) text += message_line(to_text(error));
    return std::unexpected(Failure{exit_code, std::move(text)});
}

std::expected<config::Configuration, Failure>
load_and_validate(const MountArguments& arguments, config::MountpointUse use, int exit_code) {
    const config::Request request{arguments.source, arguments.mountpoint, arguments.option_lists,
                                  arguments.sloppy};
    auto configuration = config::load(request, config::Environment::current());
    if (!configuration) return config_failure(configuration.error(), exit_code);
    configuration->options.debug = arguments.debug;
    configuration->options.foreground = arguments.foreground || arguments.debug;
    if (const auto errors = validate(*configuration, use); !errors.empty())
        return config_failure(errors, exit_code);
    return *std::move(configuration);
}

std::expected<Command, Failure> mount_command(ParsedArguments<MountArguments> parsed,
                                              ExitCodes codes, std::string_view name) {
    if (!parsed) return usage_failure(parsed.error(), codes.usage, name);
    if (auto* help = std::get_if<HelpText>(&*parsed)) return HelpCommand{std::move(help->text)};
    const auto& arguments = std::get<MountArguments>(*parsed);

    if (!arguments.mount_namespace.empty()) {
        if (const std::error_code error = enter_mount_namespace(arguments.mount_namespace))
            return std::unexpected(Failure{
                codes.failure, message_line(arguments.mount_namespace + ": " + error.message())});
    }
    auto configuration = load_and_validate(arguments, config::MountpointUse::Free, codes.failure);
    if (!configuration) return std::unexpected(std::move(configuration.error()));
    if (configuration->options.mountpoint.empty())
        return usage_failure({"MOUNTPOINT is missing, and the YAML file names none"}, codes.usage,
                             name);
    return MountCommand{*std::move(configuration), arguments.fake, arguments.verbose,
                        codes.failure};
}

std::expected<Command, Failure> check_command(const std::vector<std::string>& words) {
    auto parsed = parse_check(words);
    if (!parsed) return usage_failure(parsed.error(), kUsage, "plyfs check");
    if (auto* help = std::get_if<HelpText>(&*parsed)) return HelpCommand{std::move(help->text)};
    auto configuration = load_and_validate(std::get<MountArguments>(*parsed),
                                           config::MountpointUse::InUse, kFailure);
    if (!configuration) return std::unexpected(std::move(configuration.error()));
    return CheckCommand{*std::move(configuration)};
}

std::expected<Command, Failure> umount_command(const std::vector<std::string>& words) {
    auto parsed = parse_umount(words);
    if (!parsed) return usage_failure(parsed.error(), kUsage, "plyfs umount");
    if (auto* help = std::get_if<HelpText>(&*parsed)) return HelpCommand{std::move(help->text)};
    auto& arguments = std::get<UmountArguments>(*parsed);
    return UmountCommand{std::move(arguments.mountpoints), arguments.lazy};
}

std::expected<Command, Failure> stats_command(const std::vector<std::string>& words) {
    auto parsed = parse_stats(words);
    if (!parsed) return usage_failure(parsed.error(), kUsage, "plyfs stats");
    if (auto* help = std::get_if<HelpText>(&*parsed)) return HelpCommand{std::move(help->text)};
    auto& arguments = std::get<StatsArguments>(*parsed);
    StatsCommand command{std::move(arguments.mountpoint), arguments.json, {}};
    if (arguments.interval != 0) command.interval = std::chrono::seconds(arguments.interval);
    return command;
}

std::expected<Command, Failure> restart_command(const std::vector<std::string>& words) {
    auto parsed = parse_restart(words);
    if (!parsed) return usage_failure(parsed.error(), kUsage, "plyfs restart");
    if (auto* help = std::get_if<HelpText>(&*parsed)) return HelpCommand{std::move(help->text)};
    return RestartCommand{std::move(std::get<RestartArguments>(*parsed).mountpoint)};
}

// Only daemons call it so (session/successor.h).
std::expected<Command, Failure> take_over_command(const std::vector<std::string>& words) {
    int channel = -1;
    if (words.size() == 1) {
        const std::string& text = words.front();
        std::from_chars(text.data(), text.data() + text.size(), channel);
    }
    if (channel < 0) return usage_failure({"is for daemons that restart"}, kUsage, "plyfs restart");
    return TakeOverCommand{channel};
}

bool is_command(std::string_view word) {
    return word == "mount" || word == "umount" || word == "check" || word == "stats" ||
           word == "restart" || word == "take-over";
}

bool is_mount_helper(std::string_view program) {
    return program.substr(program.rfind('/') + 1).starts_with("mount.");
}

}  // namespace

std::string message_line(const std::string& text) {
    return "plyfs: " + text + '\n';
}

std::expected<Command, Failure> parse_command_line(int argc, const char* const* argv) {
    std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
    const bool helper = argc > 0 && is_mount_helper(argv[0]);
    if (words.size() == 1 && (words[0] == "--version" || words[0] == "-V")) return VersionCommand{};
    if (helper)
        return mount_command(parse_mount_helper(words), {kHelperUsage, kHelperFailure},
                             "mount.plyfs");
    if (words.empty()) return usage_failure({"nothing to do"}, kUsage, "plyfs");

    const std::string first = words.front();
    if (first == "--help" || first == "-h") return HelpCommand{std::string(kHelp)};
    if (is_command(first)) words.erase(words.begin());
    if (first == "check") return check_command(words);
    if (first == "stats") return stats_command(words);
    if (first == "restart") return restart_command(words);
    if (first == "take-over") return take_over_command(words);
    if (first == "umount") return umount_command(words);
    return mount_command(parse_mount(words), {}, first == "mount" ? "plyfs mount" : "plyfs");
}

}  // namespace plyfs::cli
