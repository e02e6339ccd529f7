;; Asks for that many pages of 64 KiB and keeps them; traps when refused, else returns the pages it has.
(component
  (core module $m
    (memory 1)
    (func (export "hoard") (param i32) (result i32)
      (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable))
      (memory.size)))
  (core instance $i (instantiate $m))
  (func (export "hoard") (param "pages" s32) (result s32) (canon lift (core func $i "hoard"))))
