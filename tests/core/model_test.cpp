// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random verbs on a union of three branches and on a plain directory must answer the same errno and
// leave the same to be seen. What differs on purpose is named in visible_tree.h; besides, opening
// symlinks and special files is left to the kernel.
//
// PLYFS_TEST_SEED adds a seed of its own, PLYFS_TEST_STEPS says how many verbs each run has,
// PLYFS_TEST_SEEDS how many runs there are over layers.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "core/plain_directory.h"
#include "core/visible_tree.h"
#include "sys/data.h"

namespace plyfs::test {
namespace {

using config::Policy;

class Model {
public:
    Model(std::uint64_t seed, const std::vector<BranchSpec>& branches, config::PolicyOptions chosen)
        : random_(seed), u_(branches, std::move(chosen), 1 + seed % 7) {}

    ~Model() {
        for (const Pair& pair : open_) u_.verbs().release(pair.file.handle);
    }

    // Copies of one file and a directory on two branches each, as a pool has them from before.
    void populate() {
        for (const std::size_t branch : {0U, 2U}) {
            std::filesystem::create_directory(u_.host(branch, "a"));
            host_write(u_.host(branch, "a/b"), "branch " + std::to_string(branch));
            host_write(u_.host(branch, "c"), "branch " + std::to_string(branch));
        }
        std::filesystem::create_directory(u_.host(1, "a"));
        host_write(u_.host(1, "a/c"), "branch 1");
        std::filesystem::create_directory(plain_.path() + "/a");
        host_write(plain_.path() + "/a/b", "branch 0");
        host_write(plain_.path() + "/a/c", "branch 1");
        host_write(plain_.path() + "/c", "branch 0");
    }

    void copy_without_data() {
        u_.remount([](UnionOptions& options) { options.metacopy = true; });
    }

    // A tree of which the last `lower` branches have a part each: the upper ones shadow the others.
    void populate_layers(std::size_t lower) {
        const std::size_t last = u_.verbs().branches().size() - 1;
        const auto fill = [&](const std::string& root, std::size_t layer) {
            const std::string text = "layer " + std::to_string(layer);
            for (const std::string directory : {"/a", "/a/b", "/a/b/c", "/b"}) {
                std::filesystem::create_directory(root + directory);
            }
            if (layer == 0) std::filesystem::create_directory(root + "/b/b");
            host_write(root + "/a/b/a", text);
            host_write(root + "/c", text);
            if (layer == 0) std::filesystem::create_symlink("x", root + "/b/c");
            if (layer == 0) host_write(root + "/b/a", text);
            if (layer == 0) std::filesystem::create_hard_link(root + "/b/a", root + "/a/b/c/a");
            if (layer % 2 == 1) host_write(root + "/a/c", text);
        };
        for (std::size_t layer = 0; layer < lower; ++layer) {
            fill(u_.host(last - layer), layer);
            fill(plain_.path(), layer);
            frozen_.push_back(u_.host(last - layer));
            states_.push_back(tree_state(frozen_.back()));
        }
    }

    void check_frozen() {
        for (std::size_t i = 0; i < frozen_.size(); ++i) {
            INFO(log_);
            REQUIRE(tree_state(frozen_[i]) == states_[i]);
        }
    }

    void run(int steps) {
        for (int step = 0; step < steps; ++step) {
            const auto [expected, found] = one_step();
            log_ += " = " + std::to_string(expected) + '\n';
            INFO(log_.substr(log_.size() > 4000 ? log_.size() - 4000 : 0));
            REQUIRE(found == expected);
            if (step % 4 == 0) compare();
            if (step % 50 == 49) u_.forget_all();
            if (step % 200 == 199 && open_.empty()) u_.remount();
        }
        compare();
        check_frozen();
        CHECK(u_.warnings.empty());
    }

private:
    struct Pair {
        OpenedFile file;
        NodeId node;
        UniqueFd plain;
    };
    struct Answers {
        int expected;
        int found;
    };

    std::uint64_t draw(std::uint64_t below) { return random_() % below; }

    std::string path() {
        static constexpr const char* kNames[] = {"a", "b", "c"};
        std::string result = kNames[draw(3)];
        for (std::uint64_t depth = draw(3); depth > 0; --depth) {
            result += std::string("/") + kNames[draw(3)];
        }
        return result;
    }

    template <typename... Parts>
    void say(const Parts&... parts) {
        ((log_ += ' ', log_ += parts), ...);
    }

    void compare() {
        const std::string differs = difference(visible_tree(plain_.path()), visible_tree(u_));
        REQUIRE(differs == "");
    }

    Answers open_one(const std::string& one) {
        const int flags =
            draw(2) == 0 ? O_RDWR | O_CREAT | O_EXCL : O_RDWR | (draw(3) == 0 ? O_TRUNC : 0);
        say("open", one, std::to_string(flags));
        Pair pair{{}, 0, {}};
        Result<void> found;
        if ((flags & O_CREAT) != 0) {
            auto made = u_.create(one, O_RDWR, 0644);
            if (made) pair.file = made->opened, pair.node = made->entry.node;
            found = made ? Result<void>() : fail(made.error());
        } else {
            const auto entry = u_.look(one);
            if (entry && !entry->attributes.is_regular() && !entry->attributes.is_directory()) {
                return {0, 0};
            }
            auto opened = u_.open(one, flags);
            if (opened) pair.file = *opened, pair.node = entry->node;
            found = opened ? Result<void>() : fail(opened.error());
        }
        const int expected = plain_.open(one, flags, 0644, pair.plain);
        if (found && expected == 0) open_.push_back(std::move(pair));
        return {expected, code(found)};
    }

    // Writes, truncates or closes what is open, after comparing it.
    Answers on_open() {
        if (open_.empty()) return {0, 0};
        const auto chosen = open_.begin() + static_cast<long>(draw(open_.size()));
        struct stat status{};
        REQUIRE(::fstat(chosen->plain.get(), &status) == 0);
        for (const HandleId handle : {HandleId{0}, chosen->file.handle}) {
            INFO(log_);
            const auto attributes = u_.verbs().getattr(chosen->node, handle);
            REQUIRE(code(attributes) == 0);
            REQUIRE(attributes->mode == status.st_mode);
            REQUIRE(attributes->links == status.st_nlink);
            REQUIRE(attributes->size == static_cast<std::uint64_t>(status.st_size));
        }
        if (draw(3) == 0) {
            say("close");
            u_.verbs().release(chosen->file.handle);
            open_.erase(chosen);
            return {0, 0};
        }
        if (draw(3) == 0) {
            say("ftruncate");
            AttributeChange change;
            change.size = static_cast<off_t>(draw(8));
            const auto found =
                u_.verbs().setattr(u_.request(), chosen->node, change, chosen->file.handle);
            return {::ftruncate(chosen->plain.get(), *change.size) == 0 ? 0 : errno, code(found)};
        }
        const std::string text = "w" + std::to_string(draw(1000));
        const auto offset = static_cast<off_t>(draw(8));
        say("pwrite", text);
        const auto bytes = std::as_bytes(std::span(text));
        const auto found = sys::write_at(chosen->file.file->descriptor.get(), bytes, offset);
        const ssize_t plain = ::pwrite(chosen->plain.get(), text.data(), text.size(), offset);
        return {plain < 0 ? errno : 0, code(found)};
    }

    Answers rename_one(const std::string& one, const std::string& other) {
        static constexpr unsigned kFlags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
        const unsigned flags = kFlags[draw(5)];
        say("rename", one, other, std::to_string(flags));
        return {plain_.rename(one, other, flags), u_.rename(one, other, flags)};
    }

    Answers change_one(const std::string& one) {
        switch (draw(4)) {
            case 0: {
                static constexpr mode_t kModes[] = {0755, 0700, 01777, 0444};
                const mode_t mode = kModes[draw(4)];
                say("chmod", one, std::to_string(mode));
                return {plain_.chmod(one, mode), u_.chmod(one, mode)};
            }
            case 1: {
                const auto entry = u_.look(one);
                if (entry && !entry->attributes.is_regular()) return {0, 0};
                say("truncate", one);
                AttributeChange change;
                change.size = static_cast<off_t>(draw(8));
                return {plain_.truncate(one, *change.size), u_.change(one, change)};
            }
            case 2: {
                const int flags = std::array<int, 3>{0, XATTR_CREATE, XATTR_REPLACE}[draw(3)];
                const std::string value = std::to_string(draw(100));
                say("setxattr", one, value, std::to_string(flags));
                return {plain_.set_xattr(one, "trusted.x", value, flags),
                        u_.set_xattr(one, "trusted.x", value, flags)};
            }
            default:
                say("removexattr", one);
                return {plain_.remove_xattr(one, "trusted.x"), u_.remove_xattr(one, "trusted.x")};
        }
    }

    Answers one_step() {
        const std::string one = path();
        const std::string other = path();
        switch (draw(15)) {
            case 0:
            case 1:
            case 2: say("mkdir", one); return {plain_.mkdir(one, 0755), u_.mkdir(one, 0755)};
            case 3: say("symlink", one); return {plain_.symlink("t", one), u_.symlink("t", one)};
            case 4: say("link", one, other); return {plain_.link(one, other), u_.link(one, other)};
            case 5:
            case 6: say("unlink", one); return {plain_.unlink(one), u_.unlink(one)};
            case 7: say("rmdir", one); return {plain_.rmdir(one), u_.rmdir(one)};
            case 8:
            case 9: return rename_one(one, other);
            case 10: return change_one(one);
            case 11:
                say("mknod", one);
                return {plain_.mknod(one, S_IFIFO | 0600), u_.mknod(one, S_IFIFO | 0600)};
            case 12:
            case 13: return open_.size() < 4 ? open_one(one) : on_open();
            default: return on_open();
        }
    }

    std::mt19937_64 random_;
    PlainDirectory plain_;
    DrivenUnion u_;
    std::vector<Pair> open_;
    std::vector<std::string> frozen_;  // roots of read-only branches
    std::vector<std::string> states_;  // as they were
    std::string log_;
};

int model_steps() {
    const char* const chosen = std::getenv("PLYFS_TEST_STEPS");
    return chosen != nullptr ? std::atoi(chosen) : 400;
}

// Past the last seed of the layers.
unsigned seeds() {
    const char* const chosen = std::getenv("PLYFS_TEST_SEEDS");
    return chosen != nullptr ? static_cast<unsigned>(std::atoi(chosen)) + 1 : 9;
}

void run_model(std::uint64_t seed) {
    static constexpr Policy kCreate[] = {Policy::Ff, Policy::Rand, Policy::EpRand, Policy::All,
                                         Policy::Pfrd};
    INFO("seed " << seed);
    config::PolicyOptions chosen = policies(kCreate[seed % 5]);
    if (seed % 3 == 0) chosen.functions[config::Function::Mkdir] = Policy::All;
    Model model(seed, {kRw, kRw, kRw}, std::move(chosen));
    if (seed % 2 == 0) model.populate();
    model.run(model_steps());
}

}  // namespace

TEST_CASE("random verbs do to a union what they do to a directory", "[model]") {
    run_model(GENERATE(Catch::Generators::range(1U, 41U)));
}

TEST_CASE("random verbs do to layers what they do to a directory", "[model][layers]") {
    const std::uint64_t seed = GENERATE(Catch::Generators::range(1U, seeds()));
    static const std::vector<std::vector<BranchSpec>> unions = {
        {kRw, kRo}, {kRw, kRo, kRo}, {kRw, kRw, kRo}, {kRw, kRw, kNc, kRo, kRo}};
    const std::vector<BranchSpec>& branches = unions[seed % unions.size()];
    INFO("seed " << seed << ", " << branches.size() << " branches");
    Model model(seed, branches, policies(seed % 3 == 0 ? Policy::Rand : Policy::Ff));
    if (seed / unions.size() % 2 == 1) model.copy_without_data();
    model.populate_layers(static_cast<std::size_t>(
        std::ranges::count(branches, BranchMode::ReadOnly, &BranchSpec::mode)));
    model.run(model_steps());
}

TEST_CASE("random verbs of a seed from outside", "[model]") {
    const char* const seed = std::getenv("PLYFS_TEST_SEED");
    run_model(seed != nullptr ? std::strtoull(seed, nullptr, 0) : std::random_device()());
}

}  // namespace plyfs::test
