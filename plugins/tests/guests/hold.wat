;; As "hoard", but keeps the pages for as long as it is let run: it never returns.
(component
  (core module $m
    (memory 1)
    (func (export "hold") (param i32) (result i32)
      (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable))
      (loop $again (br $again))
      (unreachable)))
  (core instance $i (instantiate $m))
  (func (export "hold") (param "pages" s32) (result s32) (canon lift (core func $i "hold"))))
