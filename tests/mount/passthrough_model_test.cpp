// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random operations by many descriptors and mappings: files of a union, over a read-only branch,
// and plain files must answer the same and have the same content. Readers that keep what they
// opened are compared with a copy of it.
//
// PLYFS_TEST_SEED: the first seed; PLYFS_TEST_SEEDS: how many; PLYFS_TEST_STEPS: operations in
// each; PLYFS_TEST_SECONDS: how long the run `[long]` takes, seed after seed.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "mount/files.h"
#include "mount/layered.h"
#include "mount/mapping.h"
#include "mount/resources.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

constexpr std::size_t kLargest = 60'000;
constexpr const char* kModelNames[] = {"one", "two", "linked", "new"};

constexpr std::size_t kInitial = kLargest / 2 + 1;

std::string initial(char byte) {
    std::string all(kInitial, byte);
    return all;
}

void make_model_files(const std::string& directory) {
    put(directory + "/one", initial('1'));
    put(directory + "/two", initial('2'));
    REQUIRE(::link((directory + "/two").c_str(), (directory + "/linked").c_str()) == 0);
}

// A file as the model knows it. What a reader keeps is kept while somebody has its token.
struct Object {
    std::string frozen;  // a plain file with what the read-only branch has; "": not there
    bool copied = false;
    bool changed = false;
    bool was_kept = false;
    std::weak_ptr<int> token;
};

struct File {
    UniqueFd united;
    UniqueFd plain;
    int flags;
    std::shared_ptr<int> token;
    std::shared_ptr<const Object> object;
    bool reads() const { return (flags & O_ACCMODE) != O_WRONLY; }
};

struct Mapped {
    Mapping united;
    Mapping plain;
    UniqueFd file;  // the plain one, for its size
    bool writable;
    std::shared_ptr<int> token;
};

class Model {
public:
    // `small_files`, bytes: what is smaller is not passed through.
    Model(const Stacking& stacking, const Layered& layered, std::uint64_t seed,
          std::size_t small_files)
        : snapshot_(stacking.snapshot),
          mappings_stay_(!snapshot_ && kInitial > small_files && layered.moves_open_files()),
          layered_(layered), plain_({stacking.kind}), random_(seed) {
        make_model_files(plain_[0]);
        for (const auto& [name, byte] : {std::pair{"one", '1'}, {"two", '2'}}) {
            objects_[name] = std::make_shared<Object>();
            objects_[name]->frozen = plain_.path(0, std::string("frozen-") + name);
            put(objects_[name]->frozen, initial(byte));
        }
        objects_["linked"] = objects_["two"];
    }

    void run(unsigned steps) {
        for (unsigned i = 0; i < steps; ++i) {
            step();
            const bool last = i + 1 == steps;
            INFO(log_tail());
            compare_descriptors(last || i % 8 == 0);
            if (last || i % 16 == 0) compare_names();
        }
    }

private:
    std::size_t pick(std::size_t count) { return random_() % count; }
    const char* pick_name() { return kModelNames[pick(std::size(kModelNames))]; }
    std::string united(const char* name) const { return layered_.path(name); }
    std::string plain(const char* name) const { return plain_.path(0, name); }
    off_t pick_offset() { return static_cast<off_t>(pick(kLargest)); }
    std::size_t pick_length() { return 1 + pick(pick(4) == 0 ? 20'000 : 200); }

    void log(std::string what) {
        log_.push_back(std::move(what));
        if (log_.size() > 30) log_.erase(log_.begin());
    }
    std::string log_tail() const {
        std::string text;
        for (const std::string& line : log_) text += line + '\n';
        return text;
    }
    void same(Outcome found, Outcome expected) {
        INFO(log_tail());
        REQUIRE(found == expected);
    }

    // `call` is made of a path in the union, then of the plain one.
    template <typename Call>
    bool both(const char* name, Call&& call) {
        const Outcome found = call(united(name));
        same(found, call(plain(name)));
        return found.ok();
    }
    template <typename Call>
    void both(const File& file, Call&& call) {
        const auto found = outcome(call(file.united.get()));
        same(found, outcome(call(file.plain.get())));
    }

    void step() {
        const auto kind = pick(100);
        if (kind < 16 || files_.empty()) return open();
        if (kind < 40) return operate(files_[pick(files_.size())]);
        if (kind < 50) return map();
        if (kind < 66) return touch();
        if (kind < 74) return close();
        if (kind < 78) return copy();
        name_operation();
    }

    void open() {
        constexpr int kModes[] = {
            O_RDONLY,          O_RDONLY,        O_RDONLY, O_RDWR, O_WRONLY, O_WRONLY | O_APPEND,
            O_RDWR | O_APPEND, O_RDWR | O_TRUNC};
        const char* const name = pick_name();
        const int flags = kModes[pick(std::size(kModes))];
        const auto found = objects_.find(name);
        std::string from = plain(name);
        std::shared_ptr<int> token;
        if (found != objects_.end()) {
            Object& object = *found->second;
            const bool reads_only = flags == O_RDONLY;
            if (!reads_only) object.changed = object.copied = true;
            token = reads_only ? keep(object) : nullptr;
            // Whether the last of them is released yet is not known.
            if (reads_only && !token && ambiguous(object)) return;
            if (token) from = object.frozen;
        }
        log("open " + std::string(name) + " " + std::to_string(flags) + (token ? " keeping" : ""));
        File file{open_file(united(name), flags),
                  {},
                  flags,
                  std::move(token),
                  found != objects_.end() ? found->second : nullptr};
        const Outcome opened = outcome(file.united.get());
        file.plain = open_file(from, flags);
        same(opened, outcome(file.plain.get()));
        if (!opened.ok()) return;
        if (files_.size() > 20) files_.erase(files_.begin() + static_cast<long>(pick(20)));
        files_.push_back(std::move(file));
    }

    bool ambiguous(const Object& object) const {
        return snapshot_ && object.copied && !object.changed && object.was_kept;
    }
    std::shared_ptr<int> keep(Object& object) const {
        if (!snapshot_ || object.frozen.empty() || object.changed) return nullptr;
        if (auto kept = object.token.lock()) return kept;
        if (object.copied) return nullptr;
        auto token = std::make_shared<int>(0);
        object.token = token;
        object.was_kept = true;
        return token;
    }

    void close() {
        if (!maps_.empty() && pick(2) == 0) {
            maps_.erase(maps_.begin() + static_cast<long>(pick(maps_.size())));
            return log("unmap");
        }
        files_.erase(files_.begin() + static_cast<long>(pick(files_.size())));
        log("close");
    }

    void operate(const File& file) {
        const off_t offset = pick_offset();
        const std::size_t length = pick_length();
        const std::string bytes(length, static_cast<char>('a' + pick(26)));
        const auto kind = pick(10);
        log("operation " + std::to_string(kind) + " flags " + std::to_string(file.flags) + " at " +
            std::to_string(offset) + " of " + std::to_string(length));
        if (kind < 4)
            return both(file, [&](int f) { return ::pwrite(f, bytes.data(), length, offset); });
        if (kind < 5) {
            if ((file.flags & O_APPEND) == 0 || status(file.plain.get()).st_size > off_t{kLargest})
                return;
            return both(file, [&](int f) { return ::write(f, bytes.data(), length); });
        }
        if (kind < 6) return both(file, [&](int f) { return ::fsync(f); });
        if (kind < 7) return both(file, [&](int f) { return ::ftruncate(f, offset); });
        if (kind < 8) return both(file, [&](int f) { return ::lseek(f, 0, SEEK_END); });
        allocate(file, offset, static_cast<off_t>(length));
    }

    void allocate(const File& file, off_t offset, off_t length) {
        constexpr int kModes[] = {0, FALLOC_FL_KEEP_SIZE,
                                  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
                                  FALLOC_FL_COLLAPSE_RANGE};
        const int mode = kModes[pick(std::size(kModes))];
        if (mode == FALLOC_FL_COLLAPSE_RANGE) offset = length = 4096;
        log("fallocate " + std::to_string(mode));
        const Outcome found = outcome(::fallocate(file.united.get(), mode, offset, length));
        if (found == EOPNOTSUPP) return;
        same(found, outcome(::fallocate(file.plain.get(), mode, offset, length)));
    }

    void copy() {
        const File& from = files_[pick(files_.size())];
        const File& to = files_[pick(files_.size())];
        const off_t source = pick_offset();
        const off_t target = pick_offset();
        const std::size_t length = pick_length();
        log("copy " + std::to_string(length) + " from " + std::to_string(source) + " to " +
            std::to_string(target));
        const auto all = [&](int in, int out) {
            off_t read = source;
            off_t written = target;
            ssize_t done = 1;
            while (done > 0 && read < source + static_cast<off_t>(length))
                done = ::copy_file_range(in, &read, out, &written,
                                         static_cast<std::size_t>(source - read) + length, 0);
            return outcome(done);
        };
        const Outcome found = all(from.united.get(), to.united.get());
        same(found, all(from.plain.get(), to.plain.get()));
    }

    void map() {
        const File& file = files_[pick(files_.size())];
        const bool stays =
            mappings_stay_ && file.object && !file.object->frozen.empty() && !file.object->changed;
        // Who opened it since has moved it to the copy or not.
        if (stays && file.object->copied) return;
        const UniqueFd model(stays ? ::open(file.object->frozen.c_str(), O_RDONLY | O_CLOEXEC)
                                   : ::fcntl(file.plain.get(), F_DUPFD_CLOEXEC, 0));
        const bool shared = pick(3) != 0;
        const int protection = PROT_READ | (pick(2) == 0 ? PROT_WRITE : 0);
        log("map " + std::to_string(protection) + (shared ? " shared" : " private") + " flags " +
            std::to_string(file.flags) + (stays ? " staying" : ""));
        const auto mapping = [&](int descriptor) {
            return Mapping(descriptor, kLargest, protection, shared ? MAP_SHARED : MAP_PRIVATE);
        };
        Mapping found = mapping(file.united.get());
        const Outcome mapped = outcome(found.valid() ? 0 : -1);
        Mapping expected = mapping(model.get());
        same(mapped, outcome(expected.valid() ? 0 : -1));
        if (!mapped.ok()) return;
        if (maps_.size() >= 8) maps_.pop_back();
        maps_.insert(maps_.begin(), std::make_unique<Mapped>(
                                        Mapped{std::move(found), std::move(expected),
                                               UniqueFd(::fcntl(model.get(), F_DUPFD_CLOEXEC, 0)),
                                               (protection & PROT_WRITE) != 0, file.token}));
    }

    static std::size_t mapped_size(const Mapped& mapped) {
        return std::min(kLargest, static_cast<std::size_t>(status(mapped.file.get()).st_size));
    }

    // Writes by a mapping.
    void touch() {
        if (maps_.empty()) return;
        const Mapped& mapped = *maps_[pick(maps_.size())];
        const std::size_t size = mapped_size(mapped);
        if (!mapped.writable || size == 0) return;
        const std::size_t at = pick(size);
        const std::size_t length = std::min(pick_length(), size - at);
        log("touch " + std::to_string(at) + " of " + std::to_string(length));
        const char byte = static_cast<char>('A' + pick(26));
        for (const Mapping* mapping : {&mapped.united, &mapped.plain})
            std::fill_n(mapping->bytes() + at, length, byte);
        if (pick(4) == 0) {
            for (const Mapping* mapping : {&mapped.united, &mapped.plain})
                REQUIRE(::msync(mapping->bytes(), kLargest, MS_SYNC) == 0);
        }
    }

    void name_operation() {
        const char* const name = pick_name();
        const char* const other = pick_name();
        const auto kind = pick(6);
        log("name operation " + std::to_string(kind) + " " + name + " " + other);
        const auto object = objects_.contains(name) ? objects_[name] : nullptr;
        if (kind == 0) {
            const off_t size = pick_offset();
            if (object) object->changed = object->copied = true;
            both(name, [&](auto path) { return outcome(::truncate(path.c_str(), size)); });
        } else if (kind == 1) {
            if (both(name,
                     [&](auto path) {
                         return outcome(::rename(path.c_str(), beside(path, other).c_str()));
                     }) &&
                object != objects_[other]) {
                object->copied = true;
                objects_[other] = object;
                objects_.erase(name);
            }
        } else if (kind == 2) {
            if (both(name, [&](auto path) {
                    return outcome(::link(path.c_str(), beside(path, other).c_str()));
                })) {
                object->copied = true;
                objects_[other] = object;
            }
        } else if (kind == 3) {
            // A file of several names is copied up before one goes.
            if (both(name, [](auto path) { return outcome(::unlink(path.c_str())); })) {
                object->copied = true;
                objects_.erase(name);
            }
            if (pick(2) == 0) return;
            if (both(name, [](auto path) { return try_open(path, O_RDWR | O_CREAT | O_EXCL); }))
                objects_[name] = std::make_shared<Object>();
        } else if (kind == 4) {
            const mode_t mode = 0600 | static_cast<mode_t>(pick(0100));
            both(name, [&](auto path) { return outcome(::chmod(path.c_str(), mode)); });
            if (object) object->copied = true;
        } else {
            both(name, [](auto path) { return set_xattr(path, "user.name", "value"); });
            if (object) object->copied = true;
        }
    }
    static std::string beside(const std::string& path, const char* name) {
        return path.substr(0, path.rfind('/') + 1) + name;
    }

    void compare_descriptors(bool whole) {
        for (const File& file : files_) {
            CAPTURE(file.flags, file.token != nullptr);
            REQUIRE(status(file.united.get()).st_size == status(file.plain.get()).st_size);
            if (!whole || !file.reads()) continue;
            const bool equal = content(file.united.get()) == content(file.plain.get());
            REQUIRE(equal);
        }
        for (const auto& mapped : maps_) {
            CAPTURE(mapped->writable, mapped->token != nullptr);
            const std::size_t size = mapped_size(*mapped);
            const bool equal = std::equal(mapped->united.bytes(), mapped->united.bytes() + size,
                                          mapped->plain.bytes());
            REQUIRE(equal);
        }
    }

    void compare_names() {
        for (const char* const name : kModelNames) {
            CAPTURE(name);
            REQUIRE(exists(united(name)) == exists(plain(name)));
            if (!exists(plain(name))) continue;
            const bool equal = content(united(name)) == content(plain(name));
            REQUIRE(equal);
            // Further names are told of by notifications.
            const auto sizes_equal = [&] {
                return status(united(name)).st_size == status(plain(name)).st_size;
            };
            REQUIRE((snapshot_ ? eventually(sizes_equal) : sizes_equal()));
            REQUIRE(mode_of(united(name)) == mode_of(plain(name)));
            REQUIRE(status(united(name)).st_nlink == status(plain(name)).st_nlink);
        }
    }

    bool snapshot_;
    bool mappings_stay_;  // with the file of the read-only branch, whatever becomes of its copy
    const Layered& layered_;
    Branches plain_;
    std::mt19937_64 random_;
    std::map<std::string, std::shared_ptr<Object>> objects_;
    std::vector<File> files_;
    std::vector<std::unique_ptr<Mapped>> maps_;
    std::vector<std::string> log_;
};

void run_seed(const Stacking& stacking, std::uint64_t seed, unsigned steps,
              std::size_t small_files) {
    CAPTURE(stacking.name, seed, small_files);
    const std::string options =
        small_files != 0 ? "passthrough.small-files=" + std::to_string(small_files) : "";
    const Layered layered(stacking, make_model_files, options);
    // Descriptors of directories and of the work directory stay.
    put(layered.path("warm"), "up");
    const std::size_t before = descriptors_of(layered.mount().daemon());
    Model(stacking, layered, seed, small_files).run(steps);
    for (const char* const name : kModelNames) (void)::unlink(layered.path(name).c_str());
    drop_caches();
    CHECK(eventually([&] {
        (void)exists(layered.path("warm"));
        return descriptors_of(layered.mount().daemon()) <= before + 8;
    }));
    CHECK(layered.lower_changes() == "");
}

TEST_CASE("random operations on open files are those of plain files",
          "[passthrough][model][splice]") {
    const Stacking stacking = GENERATE(from_range(stackings()));
    const std::uint64_t first = from_environment("PLYFS_TEST_SEED", 1);
    const std::uint64_t count = from_environment("PLYFS_TEST_SEEDS", 2);
    const auto steps = static_cast<unsigned>(from_environment("PLYFS_TEST_STEPS", 400));
    for (std::uint64_t seed = first; seed < first + count; ++seed)
        run_seed(stacking, seed, steps, seed % 2 == 0 ? std::size_t{1} << 20 : 0);
}

// Run by its tag only.
TEST_CASE("random operations on open files for as long as is asked for", "[.][long]") {
    const std::uint64_t seconds = from_environment("PLYFS_TEST_SECONDS", 60);
    allow_seconds(static_cast<unsigned>(seconds) + kTestCaseSeconds);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    std::uint64_t seed = from_environment("PLYFS_TEST_SEED", 1000);
    while (std::chrono::steady_clock::now() < until) {
        for (const Stacking& stacking : stackings())
            run_seed(stacking, seed, 2000, seed % 2 == 0 ? std::size_t{20} << 10 : 0);
        ++seed;
    }
    WARN("the last seed was " << seed - 1);
}

}  // namespace
}  // namespace plyfs::test
