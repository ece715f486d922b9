// SPDX-License-Identifier: GPL-2.0-or-later
//
// plyfs_bench ROUNDS LABEL=DIRECTORY... [-- WORKLOAD]
//
// Times every workload (or those whose name contains WORKLOAD) in each directory, a round after the
// other with the directories in turn, so that what else happens on the machine meets all of them,
// and prints the medians. The first directory is what the others are compared with.
//
// plyfs_bench --prepare-copy-ups ROUNDS LABEL=DIRECTORY
// plyfs_bench --copy-ups ROUNDS LABEL=DIRECTORY... [-- WORKLOAD]
//
// The same for what is copied up: the first makes the files of all rounds in a directory, which
// then is the read-only branch of the unions that the second is given.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string_view>

#include "files.h"
#include "report.h"
#include "workloads.h"

namespace plyfs::bench {
namespace {

enum class Mode { Plain, PrepareCopyUps, CopyUps };

struct Arguments {
    Mode mode = Mode::Plain;
    int rounds = 0;
    std::vector<std::string> labels;
    std::vector<std::string> directories;
    std::string only;
};

[[noreturn]] void usage() {
    fmt::print(stderr,
               "usage: plyfs_bench [--prepare-copy-ups | --copy-ups] ROUNDS LABEL=DIRECTORY... "
               "[-- WORKLOAD]\n");
    std::exit(2);
}

Arguments parse(std::span<char*> words) {
    Arguments arguments;
    const std::string_view option = words.size() > 1 ? words[1] : "";
    if (option == "--prepare-copy-ups") arguments.mode = Mode::PrepareCopyUps;
    if (option == "--copy-ups") arguments.mode = Mode::CopyUps;
    if (arguments.mode != Mode::Plain) words = words.subspan(1);
    if (words.size() < 3) usage();
    arguments.rounds = std::atoi(words[1]);
    for (std::size_t i = 2; i < words.size(); ++i) {
        const std::string_view word = words[i];
        if (word == "--") {
            if (i + 2 != words.size()) usage();
            arguments.only = words[i + 1];
            break;
        }
        const std::size_t equals = word.find('=');
        if (equals == std::string_view::npos) usage();
        arguments.labels.emplace_back(word.substr(0, equals));
        arguments.directories.emplace_back(word.substr(equals + 1));
    }
    if (arguments.rounds < 1 || arguments.labels.empty()) usage();
    return arguments;
}

// Each round copies up its own.
std::string copy_up_directory(const Workload& workload, const std::string& parent, int round) {
    return fmt::format("{}/{}.{}", parent, &workload - copy_ups().data(), round);
}

void prepare_copy_ups(const Arguments& arguments) {
    for (const Workload& workload : copy_ups()) {
        for (int round = 0; round < arguments.rounds; ++round) {
            const std::string directory =
                copy_up_directory(workload, arguments.directories.front(), round);
            make_directory(directory);
            workload.prepare(directory);
        }
    }
}

double seconds_of(const Workload& workload, const Arguments& arguments, std::size_t target,
                  int round) {
    const std::string& parent = arguments.directories[target];
    const bool plain = arguments.mode == Mode::Plain;
    const std::string directory =
        plain ? parent + "/bench" : copy_up_directory(workload, parent, round);
    if (plain) {
        make_directory(directory);
        workload.prepare(directory);
    }
    const auto begin = std::chrono::steady_clock::now();
    workload.run(directory);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    remove_tree(directory);
    return taken.count();
}

void measure(const Workload& workload, const Arguments& arguments) {
    std::vector<Times> times(arguments.directories.size());
    const bool progress = ::isatty(STDERR_FILENO) == 1;
    for (int round = 0; round < arguments.rounds; ++round) {
        for (std::size_t i = 0; i < times.size(); ++i) {
            if (progress) {
                fmt::print(stderr, "\r\033[K{}: round {} of {}, {}", workload.name, round + 1,
                           arguments.rounds, arguments.labels[i]);
            }
            times[i].push_back(seconds_of(workload, arguments, i, round));
        }
    }
    if (progress) fmt::print(stderr, "\r\033[K");
    fmt::print("{}\n", line(workload, times));
    std::fflush(stdout);
}

}  // namespace
}  // namespace plyfs::bench

int main(int count, char** words) {
    using namespace plyfs::bench;
    const Arguments arguments = parse(std::span(words, static_cast<std::size_t>(count)));
    if (arguments.mode == Mode::PrepareCopyUps) {
        prepare_copy_ups(arguments);
        return 0;
    }
    fmt::print("{}\n", heading(arguments.labels));
    for (const Workload& workload : arguments.mode == Mode::CopyUps ? copy_ups() : workloads()) {
        if (std::string_view(workload.name).find(arguments.only) == std::string_view::npos)
            continue;
        measure(workload, arguments);
    }
    return 0;
}
