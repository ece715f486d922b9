// SPDX-License-Identifier: GPL-2.0-or-later
//
// plyfs_bench ROUNDS LABEL=DIRECTORY... [-- WORKLOAD]
//
// Times every workload (or those whose name contains WORKLOAD) in each directory, a round after the
// other with the directories in turn, so that what else happens on the machine meets all of them,
// and prints the medians. The first directory is what the others are compared with.
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

struct Arguments {
    int rounds = 0;
    std::vector<std::string> labels;
    std::vector<std::string> directories;
    std::string only;
};

[[noreturn]] void usage() {
    fmt::print(stderr, "usage: plyfs_bench ROUNDS LABEL=DIRECTORY... [-- WORKLOAD]\n");
    std::exit(2);
}

Arguments parse(std::span<char*> words) {
    Arguments arguments;
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

double seconds_of(const Workload& workload, const std::string& parent) {
    const std::string directory = parent + "/bench";
    make_directory(directory);
    workload.prepare(directory);
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
            times[i].push_back(seconds_of(workload, arguments.directories[i]));
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
    fmt::print("{}\n", heading(arguments.labels));
    for (const Workload& workload : workloads()) {
        if (std::string_view(workload.name).find(arguments.only) == std::string_view::npos)
            continue;
        measure(workload, arguments);
    }
    return 0;
}
