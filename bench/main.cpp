// SPDX-License-Identifier: GPL-2.0-or-later
//
// plyfs_bench --list
// plyfs_bench --one FILES WORKLOAD DIRECTORY
//
// The first prints the name, unit, place and caches of every workload. The second runs one, with
// FILES files, and prints its number of operations and the seconds that it took: once, or with cold
// and then with warm caches. DIRECTORY is the set for those that work on one; the others make and
// remove a directory in it. What is dirty must have been written before.
//
// plyfs_bench --prepare-copy-ups ROUNDS LABEL=DIRECTORY
// plyfs_bench --copy-ups ROUNDS LABEL=DIRECTORY... [-- WORKLOAD]
//
// Times every copy-up (or those whose name contains WORKLOAD) in each directory, a round after the
// other with the directories in turn, so that what else happens on the machine meets all of them,
// and prints the medians. The first directory is what the others are compared with. The files of
// all rounds are made before in a directory, which then is the read-only branch of the unions.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <span>
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
    fmt::print(stderr,
               "usage: plyfs_bench --list | --one FILES WORKLOAD DIRECTORY\n"
               "       plyfs_bench --prepare-copy-ups | --copy-ups ROUNDS LABEL=DIRECTORY... "
               "[-- WORKLOAD]\n");
    std::exit(2);
}

Arguments parse(std::span<char*> words) {
    Arguments arguments;
    if (words.size() < 2) usage();
    arguments.rounds = std::atoi(words[0]);
    for (std::size_t i = 1; i < words.size(); ++i) {
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
            workload.prepare({.directory = directory, .sizes = {}});
        }
    }
}

double timed(const Workload& workload, const Place& place) {
    const auto begin = std::chrono::steady_clock::now();
    workload.run(place);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    workload.check(place);
    return taken.count();
}

double seconds_of(const Workload& workload, const Arguments& arguments, std::size_t target,
                  int round) {
    const Place place{
        .directory = copy_up_directory(workload, arguments.directories[target], round),
        .sizes = {},
    };
    const double seconds = timed(workload, place);
    remove_tree(place.directory);
    return seconds;
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

void copy_up(const Arguments& arguments) {
    fmt::print("{}\n", heading(arguments.labels));
    for (const Workload& workload : copy_ups()) {
        if (std::string_view(workload.name).find(arguments.only) == std::string_view::npos)
            continue;
        measure(workload, arguments);
    }
}

void list_workloads() {
    for (const Workload& workload : workloads()) {
        fmt::print("{}\t{}\t{}\t{}\n", workload.name, workload.unit,
                   workload.where == Where::Set ? "set" : "fresh",
                   workload.caches == Caches::ColdThenWarm ? "cold,warm" : "");
    }
}

// `words`: FILES WORKLOAD DIRECTORY.
void run_once(std::span<char*> words) {
    if (words.size() != 3) usage();
    const std::span all = workloads();
    const auto workload = std::ranges::find(all, std::string_view(words[1]), &Workload::name);
    if (workload == all.end()) usage();
    Place place{.directory = words[2], .sizes = {}};
    place.sizes.files = std::strtoul(words[0], nullptr, 10);
    const bool fresh = workload->where == Where::Fresh;
    if (fresh) {
        place.directory += "/bench";
        make_directory(place.directory);
    }
    workload->prepare(place);
    if (workload->caches == Caches::Warm) workload->run(place);
    if (workload->caches == Caches::ColdThenWarm) drop_caches();
    fmt::print("{} {}", place.sizes.*workload->operations, timed(*workload, place));
    if (workload->caches == Caches::ColdThenWarm) fmt::print(" {}", timed(*workload, place));
    fmt::print("\n");
    if (fresh) remove_tree(place.directory);
}

}  // namespace
}  // namespace plyfs::bench

int main(int count, char** words) {
    using namespace plyfs::bench;
    const std::span arguments(words, static_cast<std::size_t>(count));
    if (count < 2) usage();
    ::umask(022);  // the modes are checked
    const std::string_view mode = arguments[1];
    if (mode == "--list") {
        list_workloads();
    } else if (mode == "--one") {
        run_once(arguments.subspan(2));
    } else if (mode == "--prepare-copy-ups") {
        prepare_copy_ups(parse(arguments.subspan(2)));
    } else if (mode == "--copy-ups") {
        copy_up(parse(arguments.subspan(2)));
    } else {
        usage();
    }
    return 0;
}
