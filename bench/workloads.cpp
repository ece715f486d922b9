// SPDX-License-Identifier: GPL-2.0-or-later
#include "workloads.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "files.h"

namespace plyfs::bench {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::size_t kMebi = std::size_t{1} << 20;

std::string file_name(const Place& place, std::size_t number, char kind = 'f') {
    return fmt::format("{}/{}{}", place.directory, kind, number);
}

template <typename Action>
void each(const Place& place, Action&& action, char kind = 'f') {
    for (std::size_t i = 0; i < place.sizes.files; ++i) action(file_name(place, i, kind));
}

void nothing(const Place& /*place*/) {}

void make_files(const Place& place) {
    each(place, [](const std::string& path) { write_file(path, kBlock); });
}

std::string big_file(const Place& place) {
    return place.directory + "/big";
}

// What a workload left: so many files, whose size and mode are these.
void check_files(const Place& place, std::size_t size, unsigned mode, char kind = 'f') {
    list_directory(place.directory, place.sizes.files + 2);
    each(place, [&](const std::string& path) { check_file(path, size, mode); }, kind);
}

void check_small_files(const Place& place) {
    check_files(place, kBlock, 0644);
}

void read_each(const Place& place) {
    std::vector<char> buffer(2 * kBlock);
    each(place,
         [&](const std::string& path) { read_to_end(open_file(path, O_RDONLY), buffer, kBlock); });
}

void stat_each(const Place& place) {
    each(place, [](const std::string& path) { check_file(path, kBlock, 0644); });
}

void stat_each_missing(const Place& place) {
    each(place, [](const std::string& path) { stat_missing(path); }, 'm');
}

void list(const Place& place) {
    list_directory(place.directory, place.sizes.files + 2);
}

void list_and_stat(const Place& place) {
    list_directory_status(place.directory, place.sizes.files + 2);
}

const std::array<Workload, 14> kWorkloads{{
    {"create and close", "us", &Sizes::files, nothing,
     [](const Place& place) {
         each(place, [](const std::string& path) { open_file(path, O_CREAT | O_EXCL | O_WRONLY); });
     },
     [](const Place& place) { check_files(place, 0, 0644); }},
    {"create and write 4 KiB", "us", &Sizes::files, nothing, make_files, check_small_files},
    {"open and close", "us", &Sizes::files, make_files,
     [](const Place& place) {
         each(place, [](const std::string& path) { open_file(path, O_RDONLY); });
     },
     nothing},
    {"chmod", "us", &Sizes::files, make_files,
     [](const Place& place) {
         each(place, [](const std::string& path) { change_mode(path, 0600); });
     },
     [](const Place& place) { check_files(place, kBlock, 0600); }},
    {"rename", "us", &Sizes::files, make_files,
     [](const Place& place) {
         for (std::size_t i = 0; i < place.sizes.files; ++i) {
             rename_file(file_name(place, i), file_name(place, i, 'r'));
         }
     },
     [](const Place& place) { check_files(place, kBlock, 0644, 'r'); }},
    {"unlink", "us", &Sizes::files, make_files,
     [](const Place& place) { each(place, remove_file); },
     [](const Place& place) { list_directory(place.directory, 2); }},
    {"write a new file", "MiB/s", &Sizes::new_mebibytes, nothing,
     [](const Place& place) { write_file(big_file(place), place.sizes.new_mebibytes * kMebi); },
     [](const Place& place) {
         check_file(big_file(place), place.sizes.new_mebibytes * kMebi, 0644);
     }},
    {"open and close one file", "us", &Sizes::loops, nothing,
     [](const Place& place) {
         const std::string path = file_name(place, 0);
         for (std::size_t i = 0; i < place.sizes.loops; ++i) open_file(path, O_RDONLY);
     },
     nothing, Where::Set, Caches::Warm},
    {"read small files", "us", &Sizes::files, nothing, read_each, nothing, Where::Set,
     Caches::ColdThenWarm},
    {"stat", "us", &Sizes::files, nothing, stat_each, nothing, Where::Set, Caches::ColdThenWarm},
    {"stat of missing names", "us", &Sizes::files, nothing, stat_each_missing, nothing, Where::Set,
     Caches::ColdThenWarm},
    {"list", "us", &Sizes::files, nothing, list, nothing, Where::Set, Caches::ColdThenWarm},
    {"list and stat", "us", &Sizes::files, nothing, list_and_stat, nothing, Where::Set,
     Caches::ColdThenWarm},
    {"stat of one file", "us", &Sizes::loops, nothing,
     [](const Place& place) {
         const std::string path = file_name(place, 0);
         for (std::size_t i = 0; i < place.sizes.loops; ++i) check_file(path, kBlock, 0644);
     },
     nothing, Where::Set, Caches::Warm},
}};

void open_to_append(const std::string& path) {
    (void)open_file(path, O_WRONLY | O_APPEND);
}

void make_sparse_file(const Place& place) {
    write_file(big_file(place), kMebi);
    const UniqueFd file = open_file(big_file(place), O_WRONLY);
    const auto size = static_cast<off_t>(place.sizes.copied_mebibytes * kMebi);
    if (::ftruncate(file.get(), size) != 0) die("ftruncate");
}

const std::array<Workload, 4> kCopyUps{{
    {"append to 4 KiB files", "us", &Sizes::files, make_files,
     [](const Place& place) { each(place, open_to_append); }, check_small_files},
    {"chmod 4 KiB files", "us", &Sizes::files, make_files,
     [](const Place& place) {
         each(place, [](const std::string& path) { change_mode(path, 0600); });
     },
     [](const Place& place) { check_files(place, kBlock, 0600); }},
    {"append to 1 GiB", "MiB/s", &Sizes::copied_mebibytes,
     [](const Place& place) { write_file(big_file(place), place.sizes.copied_mebibytes * kMebi); },
     [](const Place& place) { open_to_append(big_file(place)); }, nothing},
    {"append to 1 GiB, a hole", "us", &Sizes::one, make_sparse_file,
     [](const Place& place) { open_to_append(big_file(place)); }, nothing},
}};

}  // namespace

std::span<const Workload> workloads() {
    return kWorkloads;
}

std::span<const Workload> copy_ups() {
    return kCopyUps;
}

}  // namespace plyfs::bench
