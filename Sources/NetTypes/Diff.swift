/// A piece of kernel state: `id` is the key the kernel uses, equality is the whole value.
public protocol KernelObject: Identifiable, Equatable, Sendable where ID: Hashable & Sendable {}

/// What must change for the observed state to become the desired one.
public struct Changes<Object: KernelObject>: Equatable, Sendable {
  /// Objects that are missing, or present with another value (`old` is then what is there).
  public var updates: [(new: Object, old: Object?)] = []
  /// Objects that are there and not wanted.
  public var removals: [Object] = []

  /// True when desired and observed agree.
  public var isEmpty: Bool { updates.isEmpty && removals.isEmpty }

  /// No change.
  @inlinable
  public init() {}

  /// The order of updates and removals counts.
  public static func == (a: Self, b: Self) -> Bool {
    a.removals == b.removals && a.updates.elementsEqual(b.updates) { $0.new == $1.new && $0.old == $1.old }
  }
}

/// The changes that lead from `observed` to `desired`, in the order of the inputs. The kernel may hold several objects
/// under one key (an appended route): those that are not wanted are removed.
/// Pure; `apply(diff(…))` followed by another `diff` yields no changes.
@inlinable
public func diff<Object: KernelObject>(desired: [Object], observed: [Object]) -> Changes<Object> {
  var changes = Changes<Object>()
  if observed.isEmpty {
    changes.updates = desired.map { ($0, nil) }
    return changes
  }
  var present = [Object.ID: Object](minimumCapacity: observed.count)
  var doubles: [Object] = []
  for o in observed { if let earlier = present.updateValue(o, forKey: o.id) { doubles.append(earlier) } }
  var wanted = Set<Object.ID>(minimumCapacity: desired.count)
  for d in desired {
    wanted.insert(d.id)
    let there = present[d.id]
    if there == d { continue }
    // With several under one key, one may be right; a replacement may hit any of them, so all others are removed.
    let isRight = !doubles.isEmpty && doubles.contains(d)
    if !isRight { changes.updates.append((d, there)) }
    if let there, !doubles.isEmpty, doubles.contains(where: { $0.id == d.id }) { changes.removals.append(there) }
  }
  for o in observed where !wanted.contains(o.id) { changes.removals.append(o) }
  for o in doubles where wanted.contains(o.id) && !desired.contains(o) { changes.removals.append(o) }
  return changes
}
