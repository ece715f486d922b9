// SPDX-License-Identifier: GPL-2.0-or-later
//
// What one union hands to another with the same branches, without a mount: ids and handles mean the
// same, and state that can't be is refused.
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/driven_union.h"
#include "union/union_restoration.h"

namespace plyfs::test {
namespace {

struct Saved {
    explicit Saved(const Union& united) {
        GivenDescriptors given;
        united.save(given, [&](const SavedState& state) { states.push_back(state); });
        for (const int descriptor : given.all()) {
            descriptors.emplace_back(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
        }
    }
    Result<void> restore(Union& united) {
        std::vector<UniqueFd> copies;
        for (const UniqueFd& descriptor : descriptors) {
            copies.emplace_back(::fcntl(descriptor.get(), F_DUPFD_CLOEXEC, 0));
        }
        TakenDescriptors taken(std::move(copies));
        UnionRestoration restoration(united, taken);
        for (const SavedState& state : states) TRY(restoration.add(SavedState(state)));
        return restoration.finish();
    }

    std::vector<SavedState> states;
    std::vector<UniqueFd> descriptors;
};

// A union of some files and directories, open and removed ones among them.
void fill(DrivenUnion& united) {
    REQUIRE(united.mkdir("a") == 0);
    REQUIRE(united.mkdir("a/b") == 0);
    REQUIRE(united.write("a/b/file", "content") == 0);
    REQUIRE(united.link("a/b/file", "linked") == 0);
    REQUIRE(united.symlink("a", "symlink") == 0);
    REQUIRE(united.write("a/removed", "ghost") == 0);
}

void forget_all(const Saved& saved, DrivenUnion& united) {
    for (const SavedState& state : saved.states) {
        if (const auto* const node = std::get_if<SavedNode>(&state)) {
            united.verbs().forget(node->id, 1'000);
        }
    }
}

}  // namespace

TEST_CASE("another union goes on with nodes and handles", "[handover]") {
    DrivenUnion before({kRw, kRo});
    fill(before);
    std::map<std::string, Entry> entries;
    for (const char* const path : {"", "a", "a/b", "a/b/file", "linked", "symlink", "a/removed"}) {
        const auto entry = before.look(path);
        REQUIRE(entry);
        entries[path] = *entry;
    }
    const auto file = before.open("a/b/file", O_RDWR);
    const auto removed = before.open("a/removed", O_RDWR);
    const auto unnamed = before.tmpfile("a");
    REQUIRE((file && removed && unnamed));
    REQUIRE(before.unlink("a/removed") == 0);
    REQUIRE(before.rename("a/b", "moved") == 0);
    const auto listing = before.verbs().opendir(entries["a"].node);
    REQUIRE(listing);

    Saved saved(before.verbs());
    const UnionCounts counts = before.counts();
    DrivenUnion after(
        {{BranchMode::ReadWrite, before.host(0)}, {BranchMode::ReadOnly, before.host(1)}});
    REQUIRE(saved.restore(after.verbs()));
    CHECK(after.counts().nodes == counts.nodes);
    CHECK(after.counts().files == 3);
    CHECK(after.counts().directories == 1);
    for (const auto& [path, entry] : entries) {
        CAPTURE(path);
        const auto attributes =
            after.verbs().getattr(entry.node, path == "a/removed" ? removed->handle : 0);
        REQUIRE(attributes);
        CHECK(attributes->inode == entry.attributes.inode);
    }
    CHECK(entries["linked"].node == entries["a/b/file"].node);
    CHECK(after.look("moved/file")->node == entries["a/b/file"].node);
    CHECK(contents({file->handle, after.verbs().file(file->handle), {}}) == "content");
    CHECK(contents({removed->handle, after.verbs().file(removed->handle), {}}) == "ghost");
    // New ids are new.
    const auto again = after.open("moved/file", O_RDONLY).value().handle;
    CHECK(again > unnamed->opened.handle);
    REQUIRE(after.mkdir("new") == 0);
    for (const auto& [path, entry] : entries) CHECK(after.look("new")->node > entry.node);

    for (const HandleId handle : {file->handle, removed->handle, unnamed->opened.handle, again}) {
        for (DrivenUnion* const united : {&before, &after}) united->verbs().release(handle);
    }
    for (DrivenUnion* const united : {&before, &after}) {
        united->verbs().releasedir(*listing);
        united->verbs().forget(unnamed->entry.node, 1);
    }
    before.forget_all();
    after.forget_all();
    // The lookups of before are counted in both.
    forget_all(saved, after);
    CHECK(after.counts().nodes == 1);
}

TEST_CASE("state that no union has is refused", "[handover]") {
    DrivenUnion before({kRw});
    fill(before);
    REQUIRE(before.look("a/b/file"));
    const auto file = before.open("a/b/file", O_RDWR);
    REQUIRE(file);
    const auto restored = [&](const std::function<bool(SavedState&)>& change) {
        DrivenUnion after({{BranchMode::ReadWrite, before.host(0)}});
        Saved changed(before.verbs());
        bool found = false;
        for (SavedState& state : changed.states) found = !found ? change(state) : found;
        REQUIRE(found);
        const int result = code(changed.restore(after.verbs()));
        after.verbs().release(file->handle);
        forget_all(changed, after);
        CHECK(after.counts().nodes == 1);
        return result;
    };
    const auto node = [&](const std::function<bool(SavedNode&)>& change) {
        return restored([&](SavedState& state) {
            auto* const found = std::get_if<SavedNode>(&state);
            return found != nullptr && found->id != kRootNode && change(*found);
        });
    };
    CHECK(restored([](SavedState&) { return true; }) == 0);
    CHECK(node([](SavedNode& saved_node) { return saved_node.stack = {7}, true; }) == EPROTO);
    CHECK(node([](SavedNode& saved_node) {
              if (S_ISDIR(saved_node.type)) return false;
              saved_node.stack.clear();
              return true;
          }) == EPROTO);
    CHECK(node([](SavedNode& saved_node) {
              return saved_node.names.empty() ? false : (saved_node.names[0].parent = 999, true);
          }) == EPROTO);
    CHECK(node([](SavedNode& saved_node) {
              if (!S_ISDIR(saved_node.type)) return false;
              saved_node.names[0].parent = saved_node.id;  // a circle
              return true;
          }) == EPROTO);
    CHECK(node([](SavedNode& saved_node) { return saved_node.successor = saved_node.id, true; }) ==
          EPROTO);
    CHECK(node([](SavedNode& saved_node) { return saved_node.held = 999, true; }) == EPROTO);
    CHECK(node([](SavedNode& saved_node) { return saved_node.id = 999'999, true; }) == EPROTO);
    CHECK(restored([](SavedState& state) {
              auto* const totals = std::get_if<SavedTotals>(&state);
              return totals != nullptr && (totals->next_file = 1, true);
          }) == EPROTO);
    CHECK(restored([](SavedState& state) {
              auto* const saved_file = std::get_if<SavedFile>(&state);
              return saved_file != nullptr && (saved_file->node = kRootNode, true);
          }) == EPROTO);
    CHECK(restored([](SavedState& state) {
              auto* const saved_file = std::get_if<SavedFile>(&state);
              return saved_file != nullptr && (saved_file->snapshot = 5, true);
          }) == EPROTO);
    CHECK(restored([](SavedState& state) {
              auto* const tag = std::get_if<SavedTag>(&state);
              return tag != nullptr && (tag->tag = 0, true);
          }) == EPROTO);
    before.verbs().release(file->handle);
}

}  // namespace plyfs::test
