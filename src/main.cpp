// SPDX-License-Identifier: GPL-2.0-or-later
//
// From a command to its end: mounting goes to the background once the mount answers.
#include <fcntl.h>
#include <fmt/core.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/dist_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <exception>
#include <expected>
#include <iostream>
#include <memory>
#include <optional>

#include "cli/command_line.h"
#include "cli/restart.h"
#include "cli/stats.h"
#include "cli/umount.h"
#include "plyfs_version.h"
#include "session/features.h"
#include "session/predecessor.h"
#include "session/session.h"
#include "sys/unique_fd.h"

namespace {

using namespace plyfs;

spdlog::level::level_enum level_of(config::LogLevel level) {
    switch (level) {
        case config::LogLevel::Error: return spdlog::level::err;
        case config::LogLevel::Warning: return spdlog::level::warn;
        case config::LogLevel::Info: return spdlog::level::info;
        case config::LogLevel::Debug: return spdlog::level::debug;
    }
    return spdlog::level::info;
}

bool in_front(const config::Options& options) {
    return options.foreground || options.debug;
}

// Where the one logger writes to. Serving threads use it when the target changes, so the logger
// stays: nothing guards spdlog's default logger.
spdlog::sinks::dist_sink_mt& log_target() {
    static const auto target = std::make_shared<spdlog::sinks::dist_sink_mt>();
    static const bool logging = [] {
        auto logger = std::make_shared<spdlog::logger>("plyfs", target);
        logger->flush_on(spdlog::level::info);
        spdlog::set_default_logger(std::move(logger));
        return true;
    }();
    (void)logging;
    return *target;
}

// Until the mount answers everything goes to stderr, where whoever mounts reads it.
void log_to_stderr(const config::LoggingOptions& options) {
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    sink->set_pattern("plyfs: %v");
    log_target().set_sinks({std::move(sink)});
    spdlog::set_level(level_of(options.level));
}

// Where to log once the mount answers; null: on to stderr. Made before anything is mounted.
std::expected<spdlog::sink_ptr, config::ConfigError>
configured_sink(const config::Configuration& configuration) {
    const config::Options& options = configuration.options;
    const std::string& target = options.logging.target;
    if (target == "stderr" || (target.empty() && in_front(options))) return nullptr;
    spdlog::sink_ptr sink;
    if (target.empty() || target == "syslog") {
        sink = std::make_shared<spdlog::sinks::syslog_sink_mt>("plyfs", LOG_PID, LOG_DAEMON, false);
    } else {
        // The library's barrier: it throws where the file can't be opened.
        try {
            sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(target);
        } catch (const spdlog::spdlog_ex& error) {
            return std::unexpected(
                config::ConfigError{configuration.origins.find("logging.target")->second,
                                    error.what(), "name a file that can be written"});
        }
    }
    return sink;
}

// The mount answers.
void begin(const cli::MountCommand& command, spdlog::sink_ptr sink) {
    const config::Options& options = command.configuration.options;
    if (command.verbose) {
        fmt::print(stderr, "plyfs: {} is mounted on {}\n", options.fsname, options.mountpoint);
    }
    if (sink) log_target().set_sinks({std::move(sink)});
}

// The parent's side: waits until the child serves (it writes a byte) or has failed (it ends).
int wait_for_child(pid_t child, int ready, int failure) {
    char byte = 0;
    ssize_t size = 0;
    do {
        size = ::read(ready, &byte, 1);
    } while (size < 0 && errno == EINTR);
    if (size == 1) return cli::kSuccess;
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
        fmt::print(stderr, "plyfs: ended by signal {} before it mounted\n", WTERMSIG(status));
    }
    return failure;
}

// The child's side, once it serves.
void leave_terminal(int ready, const config::Options& options) {
    ::setsid();
    if (::chdir("/") != 0) spdlog::warn("/ can't be entered");
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        ::dup2(null, STDIN_FILENO);
        ::dup2(null, STDOUT_FILENO);
        if (options.logging.target != "stderr") ::dup2(null, STDERR_FILENO);
        ::close(null);
    }
    if (::write(ready, "", 1) != 1) spdlog::warn("nobody waited for the mount");
}

// Whoever started a daemon that does not go to the background waits for this process and signals
// it, also when others serve the mount.
int wait_for_successor(pid_t successor) {
    sigset_t awaited;
    sigemptyset(&awaited);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&awaited, signal);
    ::sigprocmask(SIG_BLOCK, &awaited, nullptr);
    std::signal(SIGCHLD, SIG_DFL);
    for (;;) {
        int status = 0;
        const pid_t ended = ::waitpid(successor, &status, WNOHANG);
        if (ended == successor && WIFEXITED(status)) return WEXITSTATUS(status);
        if (ended != 0) return cli::kFailure;
        int signal = 0;
        ::sigwait(&awaited, &signal);
        if (signal != SIGCHLD) ::kill(successor, signal);
    }
}

// Those that were sent to this process until now, and were for the mount.
void hand_on_signals(pid_t successor) {
    sigset_t pending;
    sigemptyset(&pending);
    for (const int signal : {SIGTERM, SIGINT}) sigaddset(&pending, signal);
    constexpr timespec kNow{};
    for (;;) {
        const int signal = ::sigtimedwait(&pending, nullptr, &kNow);
        if (signal <= 0) return;
        ::kill(successor, signal);
    }
}

int end(const config::Options& options,
        const std::expected<session::Ended, session::SessionError>& served, int failure) {
    if (!served) {
        spdlog::error("{}", served.error().text);
        return failure;
    }
    if (served->successor == 0) return cli::kSuccess;
    if (in_front(options)) return wait_for_successor(served->successor);
    hand_on_signals(served->successor);
    return cli::kSuccess;
}

int serve(const cli::MountCommand& command, const std::function<void()>& ready) {
    const config::Options& options = command.configuration.options;
    return end(options, session::mount_and_serve(options, config::dump(options), ready),
               command.failure);
}

int run(const cli::MountCommand& command) {
    const config::Options& options = command.configuration.options;
    log_to_stderr(options.logging);
    for (const std::string& warning : command.configuration.warnings) {
        spdlog::warn("warning: {}", warning);
    }
    if (command.fake) return cli::kSuccess;
    auto sink = configured_sink(command.configuration);
    if (!sink) {
        spdlog::error("{}", config::to_text(sink.error()));
        return command.failure;
    }
    if (in_front(options)) {
        return serve(command, [&] { begin(command, *std::move(sink)); });
    }
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
        spdlog::error("no pipe: {}", Errno::last().message());
        return command.failure;
    }
    const UniqueFd near(pipe[0]);
    UniqueFd far(pipe[1]);
    const pid_t child = ::fork();
    if (child < 0) {
        spdlog::error("no process: {}", Errno::last().message());
        return command.failure;
    }
    if (child > 0) {
        far.reset();
        return wait_for_child(child, near.get(), command.failure);
    }
    return serve(command, [&] {
        begin(command, *std::move(sink));
        leave_terminal(far.get(), options);
        far.reset();
    });
}

// Anything that is wrong is the daemon's to tell: the successor's own messages go nowhere yet.
int run(const cli::TakeOverCommand& command) {
    auto predecessor = session::Predecessor::meet(command.channel);
    if (!predecessor) {
        fmt::print(stderr, "plyfs: take-over {}\n", predecessor.error());
        return cli::kUsage;
    }
    const auto give_up = [&](const config::ConfigError& error) {
        predecessor->refuse(config::to_text(error));
        return cli::kFailure;
    };
    auto configuration =
        config::load_dump(predecessor->configuration(), config::Environment::current());
    if (!configuration) return give_up(configuration.error().front());
    config::Options& options = configuration->options;
    options.foreground = predecessor->foreground();
    options.debug = predecessor->debug();
    if (const auto errors = validate(*configuration, config::MountpointUse::InUse);
        !errors.empty()) {
        return give_up(errors.front());
    }
    log_to_stderr(options.logging);
    auto sink = configured_sink(*configuration);
    if (!sink) return give_up(sink.error());
    if (!in_front(options)) ::setsid();
    const auto served =
        session::take_over_and_serve(options, predecessor->configuration(), *predecessor, [&] {
            if (*sink) log_target().set_sinks({*std::move(sink)});
        });
    return end(options, served, cli::kFailure);
}

int run(const cli::RestartCommand& command) {
    return cli::restart(command, std::cerr);
}

int run(const cli::UmountCommand& command) {
    return cli::umount(command, std::cerr);
}

int run(const cli::CheckCommand& command) {
    for (const std::string& warning : command.configuration.warnings) {
        fmt::print(stderr, "plyfs: warning: {}\n", warning);
    }
    fmt::print("{}", config::dump(command.configuration.options));
    return cli::kSuccess;
}

int run(const cli::StatsCommand& command) {
    return cli::stats(command, std::cout, std::cerr);
}

int run(const cli::VersionCommand&) {
    fmt::print("plyfs {}\n{}\n", PLYFS_VERSION, session::describe_features());
    return cli::kSuccess;
}

int run(const cli::HelpCommand& command) {
    fmt::print("{}", command.text);
    return cli::kSuccess;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const auto command = cli::parse_command_line(argc, argv);
        if (!command) {
            fmt::print(stderr, "{}", command.error().text);
            return command.error().exit_code;
        }
        return std::visit([](const auto& chosen) { return run(chosen); }, *command);
    } catch (const std::exception& error) {
        fmt::print(stderr, "plyfs: {}\n", error.what());
        return cli::kFailure;
    }
}
